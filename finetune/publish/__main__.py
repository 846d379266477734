"""The command: `python -m finetune.publish`."""

from finetune.base.errors import run
from finetune.publish.checks import main

if __name__ == "__main__":
    raise SystemExit(run(main))
