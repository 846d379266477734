"""DVC in a process that ends with the search that started it, even if that is killed.

Its stage ends first: DVC then removes its copy of the project, and does not list the experiment as running for ever.
"""

import os
import sys
import threading
import time

from dvc.cli import main

from finetune.base.parent import ancestors, orphaned
from finetune.search.trials import SECONDS, end_stages


def end_with_search(numbers: list[int]):
    """Ends each stage that this DVC starts once the process that started DVC has ended (`ancestors`)."""
    while not orphaned(numbers):
        time.sleep(SECONDS)
    while True:
        end_stages(os.getpid())
        time.sleep(SECONDS)


if __name__ == "__main__":
    threading.Thread(target=end_with_search, args=(ancestors(),), daemon=True).start()
    raise SystemExit(main(sys.argv[1:]))
