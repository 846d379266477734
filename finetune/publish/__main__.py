"""The command: `python -m finetune.publish`."""

from finetune.base.command import run
from finetune.publish.checks import main

if __name__ == "__main__":
    raise SystemExit(run(main))
