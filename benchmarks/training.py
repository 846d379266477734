"""Our training against the tutorials' recipe: rows a second, memory, share of the machine's peak, accuracy.

    python -m benchmarks.training [--rows 384] [--rounds 3] [--seeds 3]

Both train on the same rows for one epoch, alternately, each in a process of its own. Then both train in full with each
seed, to compare their accuracies on the validation and test rows: half an hour on two cores, which --seeds 0 saves.
"""

import json
import statistics
import subprocess
import sys
import time

import torch

from benchmarks.measure import Ratio, table
from finetune.base.command import Parser, run
from finetune.base.errors import UserError
from finetune.base.params import read_params
from finetune.encoder.hardware import chosen_precision

ROWS = 384
LONG = 256  # length of every text in the second comparison, in tokens
ROUNDS = 3
SEEDS = 3


def side_training(**options) -> dict:
    """Measurements of `benchmarks.side_training` in a process of its own. Raises UserError if it fails."""
    command = [sys.executable, "-m", "benchmarks.side_training", json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"the training {options} failed: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_gigaflops(precision: str) -> float:
    """Best rate of a large matrix product on this machine, in 10^9 operations a second."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    size, best = 2048, 0.0
    left, right = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    for _ in range(10):
        started = time.perf_counter()
        left @ right
        best = max(best, 2 * size**3 / (time.perf_counter() - started) / 1e9)
    return best


def comparison(name: str, rows: int, rounds: int, length: int | None, target: str) -> list[Ratio]:
    """Our training against the tutorial's on the same rows: medians over alternating rounds."""
    pad_to = length or read_params("tokenize").max_length
    sides = {"ours": {"recipe": "ours"}, "tutorial": {"recipe": "tutorial", "pad_to": pad_to}}
    measurements = {side: [] for side in sides}
    for _ in range(rounds):
        for side, options in sides.items():
            measurements[side].append(side_training(rows=rows, length=length, epochs=1, **options))

    def median(side: str, key: str) -> float:
        return statistics.median(measured[key] for measured in measurements[side])

    peak = peak_gigaflops(chosen_precision(read_params("train").precision))
    speeds = [median(side, "rows_per_second") for side in sides]
    return [
        Ratio(f"training against the tutorials' recipe, {name}", *speeds, "rows/s", target),
        Ratio(f"its peak memory, {name}", *(median(side, "megabytes") for side in sides), "MB", ""),
        Ratio(f"its share of the matrix-product peak, {name}", median("ours", "gigaflops"), peak, "GFLOP/s", ""),
    ]


def accuracies(seeds: int) -> list[Ratio]:
    """Mean test accuracy of both over seeds, trained in full.

    Here the tutorial's side pads to the longest text of a batch: the sums are the same, and it takes a fifth of the time.
    """
    sides = {"ours": {}, "tutorial": {}}
    for seed in range(1, seeds + 1):
        for side, by_seed in sides.items():
            by_seed[seed] = side_training(recipe=side, score=True, train={"seed": seed})
            print(f"{side}, seed {seed}: " + json.dumps(by_seed[seed]), flush=True)
    return [
        Ratio(
            f"{split} accuracy over {seeds} seeds",
            *(statistics.mean(measured[split] for measured in by_seed.values()) for by_seed in sides.values()),
            "share",
            target,
        )
        for split, target in (("validation", ""), ("test", "at most 0.005 lower"))
    ]


def ratios(rows: int = ROWS, rounds: int = ROUNDS, seeds: int = SEEDS) -> list[Ratio]:
    """All ratios of this benchmark."""
    speeds = comparison("default texts", rows, rounds, None, ">= 10")
    speeds += comparison(f"texts of {LONG} tokens", rows, rounds, LONG, ">= 4")
    return speeds + (accuracies(seeds) if seeds else [])


def main():
    parser = Parser(prog="python -m benchmarks.training", description="Measure training.")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="number of seeds for the accuracies; 0 leaves them out"
    )
    print(table(ratios(**vars(parser.parse_args()))))


if __name__ == "__main__":
    raise SystemExit(run(main))
