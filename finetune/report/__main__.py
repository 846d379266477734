"""The command: `python -m finetune.report`."""

from finetune.base.command import run
from finetune.report.page import main

if __name__ == "__main__":
    raise SystemExit(run(main))
