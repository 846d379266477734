"""Train every strategy in full on the project's data with several seeds, for the table of docs/training.md.

    python -m benchmarks.strategies [--seeds 3] [--only full head]

The learning rates were chosen on validation. Run by hand (an hour on two cores), not with `make bench`.
"""

import json
import statistics

from tabulate import tabulate

from benchmarks.training import side_training
from finetune.base.command import Parser, run

# Changes of each strategy to params.yaml.
CHANGES = {
    "full": {},
    "full, embeddings too": {"freeze_embeddings": False},
    "full, layer_decay 0.85": {"layer_decay": 0.85, "lr": 2e-4},
    "gradual": {"strategy": "gradual"},
    "lora": {"strategy": "lora", "lr": 1e-3},
    "head": {"strategy": "head", "lr": 3e-3, "epochs": 20, "batch_size": 256},
}
SEEDS = 3


def row(name: str, measurements: list[dict], seconds: float) -> list[str]:
    """One line of the table: mean and range of the accuracies, trained weights, time as a multiple of `seconds`, memory."""

    def spread(split: str) -> str:
        values = [measured[split] for measured in measurements]
        return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"

    time = statistics.median(measured["seconds"] for measured in measurements)
    memory = max(measured["megabytes"] for measured in measurements)
    return [
        name,
        spread("validation"),
        spread("test"),
        f"{measurements[0]['trained']:,}",
        f"{time / seconds:.2f}",
        f"{memory:,.0f}",
    ]


def main():
    parser = Parser(prog="python -m benchmarks.strategies", description="Measure the strategies.")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    arguments = parser.parse_args()
    measurements: dict[str, list[dict]] = {name: [] for name in arguments.only}
    for seed in range(1, arguments.seeds + 1):  # alternately, so that other load affects all of them
        for name, done in measurements.items():
            done.append(side_training(recipe="ours", score=True, train=CHANGES[name] | {"seed": seed}))
            print(f"{name}, seed {seed}: {json.dumps(done[-1])}", flush=True)
    whole = statistics.median(measured["seconds"] for measured in measurements[arguments.only[0]])
    head = ["strategy", "validation accuracy", "test accuracy", "trained weights", "time", "peak MB"]
    print(tabulate([row(name, done, whole) for name, done in measurements.items()], head, tablefmt="github"))


if __name__ == "__main__":
    raise SystemExit(run(main))
