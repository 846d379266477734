"""What the stages share: one module an idea. The README numbers the order in which to read them."""

import gc
import sys

# The imports of a stage make half a million objects that live to its end, and searching them for garbage took a third
# of its start. `-m` stands here while Python starts `python -m …`; `finetune.errors.run` searches again.
if sys.argv[0] == "-m":
    gc.disable()
