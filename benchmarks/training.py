"""Our training beside the tutorials' recipe: rows a second, memory, share of the machine's peak, accuracy.

    python -m benchmarks.training [--rows 384] [--rounds 3] [--seeds 3]

Both train on the same rows for one epoch, in turns, each in a process of its own. Then both train in full with as many
seeds, and their accuracies on the validation and test rows are compared: half an hour on two cores, which --seeds 0 saves.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import torch

from benchmarks.measure import Ratio, table
from finetune.base.command import run
from finetune.base.errors import UserError
from finetune.base.params import read_params
from finetune.encoder.hardware import chosen_precision

ROWS = 384
LONG = 256  # tokens that texts fill in the second comparison
ROUNDS = 3
SEEDS = 3


def side_training(**what) -> dict:
    """What `benchmarks.side_training` measures in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.side_training", json.dumps(what)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"the training {what} failed: {done.stderr.strip()[-300:]}")
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
    """Our training beside the tutorial's on the same rows: medians over rounds in turns."""
    pad_to = length or read_params("tokenize").max_length
    sides = {"ours": {"recipe": "ours"}, "tutorial": {"recipe": "tutorial", "pad_to": pad_to}}
    found = {side: [] for side in sides}
    for _ in range(rounds):
        for side, what in sides.items():
            found[side].append(side_training(rows=rows, length=length, epochs=1, **what))

    def median(side: str, key: str) -> float:
        return statistics.median(measured[key] for measured in found[side])

    peak = peak_gigaflops(chosen_precision(read_params("train").precision))
    speeds = [median(side, "rows_per_second") for side in sides]
    return [
        Ratio(f"training beside the tutorials' recipe, {name}", *speeds, "rows/s", target),
        Ratio(f"its peak memory, {name}", *(median(side, "megabytes") for side in sides), "MB", ""),
        Ratio(f"its share of the matrix-product peak, {name}", median("ours", "gigaflops"), peak, "GFLOP/s", ""),
    ]


def accuracies(seeds: int) -> list[Ratio]:
    """Mean test accuracy of both over seeds, trained in full.

    The tutorial's side pads to the longest text of a batch here: the sums are the same and it takes a fifth of the time.
    """
    sides = {"ours": {}, "tutorial": {}}
    for seed in range(1, seeds + 1):
        for side, found in sides.items():
            found[seed] = side_training(recipe=side, score=True, train={"seed": seed})
            print(f"{side}, seed {seed}: " + json.dumps(found[seed]), flush=True)
    return [
        Ratio(
            f"{split} accuracy over {seeds} seeds",
            *(statistics.mean(measured[split] for measured in found.values()) for found in sides.values()),
            "share",
            target,
        )
        for split, target in (("validation", ""), ("test", "at most 0.005 lower"))
    ]


def ratios(rows: int = ROWS, rounds: int = ROUNDS, seeds: int = SEEDS) -> list[Ratio]:
    """All that this benchmark measures."""
    found = comparison("default texts", rows, rounds, None, ">= 10")
    found += comparison(f"texts of {LONG} tokens", rows, rounds, LONG, ">= 4")
    return found + (accuracies(seeds) if seeds else [])


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description="Measure training.")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="compare accuracies over this many; 0: not at all")
    print(table(ratios(**vars(parser.parse_args()))))


if __name__ == "__main__":
    raise SystemExit(run(main))
