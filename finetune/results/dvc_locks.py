"""DVC's list of locked files, which a full disk cuts off."""

import json
import time
from pathlib import Path

from finetune.base.terminal import say


def remove_broken_lock_list(path: Path = Path(".dvc/tmp/rwlock")):
    """Removes DVC's list of locked files if it is no JSON, and says so.

    A disk that fills up while DVC writes the list cuts it off, and every later DVC refuses to start.
    """
    for seconds in (1, 0):  # another DVC may be writing it
        try:
            json.loads(path.read_text(encoding="utf-8"))
            return
        except OSError:  # no list; or one that cannot be read, about which DVC itself will complain
            return
        except ValueError:
            time.sleep(seconds)
    path.unlink(missing_ok=True)
    say(f"removed {path}: DVC's list of locked files was cut off, which a full disk does")
