"""The command: `python -m finetune.gate`."""

from finetune.base.command import run
from finetune.gate.thresholds import CANNOT_TELL, main

if __name__ == "__main__":
    raise SystemExit(run(main, mistake=CANNOT_TELL))
