"""The command: `python -m finetune.serve`."""

from finetune.base.command import run
from finetune.serve.app import main

if __name__ == "__main__":
    raise SystemExit(run(main))
