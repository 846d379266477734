"""The command: `python -m finetune.predict`."""

from finetune.base.command import run
from finetune.predict.answers import main

if __name__ == "__main__":
    raise SystemExit(run(main))
