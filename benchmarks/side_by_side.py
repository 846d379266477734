"""Two trainings side by side against one alone, and one alone against one whose waiting threads always spin.

    python -m benchmarks.side_by_side [--rows 1000] [--rounds 3]

Each training runs in a process of its own, in bf16 or fp32 as chosen for all of them, so that no process measures which is
faster while another computes. Seconds are those of the slower of two trainings, without imports.
"""

import json
import os
import statistics
import subprocess
import sys

from benchmarks.measure import Ratio, table
from finetune.base.command import Parser, run
from finetune.base.errors import UserError
from finetune.base.params import read_params
from finetune.encoder.hardware import chosen_precision
from finetune.training.shared_cores import CHOSEN_BY_USER

ROWS = 1000
ROUNDS = 3
SPINNING = {"GOMP_SPINCOUNT": "300000"}  # libgomp's own number
MOST_TOGETHER = 2.2  # times the seconds of one alone
MOST_ALONE = 1.03  # times the seconds of one that spins


def spent(count: int, rows: int, precision: str, environment: dict[str, str]) -> float:
    """Seconds of the slowest of `count` trainings that start together. Raises UserError if one fails."""
    options = {"recipe": "ours", "rows": rows, "epochs": 1, "products": False, "train": {"precision": precision}}
    command = [sys.executable, "-m", "benchmarks.side_training", json.dumps(options)]
    outside = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY_USER}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    trainings = [subprocess.Popen(command, env=outside | environment, **pipes) for _ in range(count)]
    done = [training.communicate() for training in trainings]
    for training, (_, errors) in zip(trainings, done, strict=True):
        if training.returncode:
            raise UserError(f"a training failed: {errors.strip()[-300:]}")
    return max(json.loads(output.splitlines()[-1])["seconds"] for output, _ in done)


def ratios(rows: int = ROWS, rounds: int = ROUNDS) -> list[Ratio]:
    """Both ratios, from medians over alternating rounds."""
    precision = chosen_precision(read_params("train").precision)
    sides = {"two": (2, {}), "one": (1, {}), "spinning": (1, SPINNING)}
    seconds = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (count, environment) in sides.items():
            seconds[name].append(spent(count, rows, precision, environment))
    two, one, spinning = (statistics.median(seconds[name]) for name in sides)
    return [
        Ratio("two trainings side by side, against one alone", two, one, "s", f"<= {MOST_TOGETHER:g}"),
        Ratio("one alone, against one that always spins", one, spinning, "s", f"<= {MOST_ALONE:g}"),
    ]


def main():
    parser = Parser(prog="python -m benchmarks.side_by_side", description="Measure two trainings on one machine.")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    print(table(ratios(**vars(parser.parse_args()))))


if __name__ == "__main__":
    raise SystemExit(run(main))
