"""What the stages share: one module an idea. The README numbers the order in which to read them."""

import gc
import signal
import sys

# `-m` stands here while Python starts `python -m …`; `finetune.errors.run` brings back what is changed here.
if sys.argv[0] == "-m":
    # The imports of a stage make half a million objects that live to its end, and searching them for garbage took a
    # third of its start.
    gc.disable()
    # Ctrl-C among the imports ends the process at once, where Python would print a page about the import it was at.
    # A process that was started deaf to Ctrl-C stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
