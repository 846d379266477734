"""How far training runs differ that have everything but the seed in common.

    python -m finetune.seeds 5       (make seeds K=5)

Each seed is a DVC experiment, run outside the workspace; an existing one is not run again, so the command can
be stopped and restarted. Writes metrics/seeds.json.
"""

from pathlib import Path

import numpy as np
from scipy.stats import t

from finetune.base.command import Parser, run
from finetune.base.errors import UserError
from finetune.base.files import write_json
from finetune.base.metric_files import SETS
from finetune.base.params import PARAMS, read_params
from finetune.base.terminal import say
from finetune.base.yaml_file import parse_yaml
from finetune.evaluation.resampling import HIGHER_IS_BETTER
from finetune.results.experiments import experiment, settings_digest
from finetune.scoring.intervals import CONFIDENCE

SEEDS = Path("metrics/seeds.json")
MOST = 1_000  # trainings; more of them hardly narrow the interval of the mean


def mean_and_spread(values: list[float]) -> dict:
    """Mean over runs, standard deviation between runs (n - 1), and Student's interval of the mean; Student 1908.

    [0.80, 0.82, 0.84] -> mean 0.82, spread 0.02, interval 0.82 ± 4.303 * 0.02 / √3.
    """
    count, mean, spread = len(values), float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * spread / count**0.5
    return {"mean": mean, "spread": spread, "interval": {"low": mean - half, "high": mean + half}, "values": values}


def main():
    parser = Parser(
        prog="python -m finetune.seeds", description="Train with several seeds and report how far the scores differ."
    )
    parser.add_argument("count", type=int, help="number of seeds, at least 2: that of params.yaml and those after it")
    count = parser.parse_args().count
    if count < 2:
        raise UserError(f"one run has no spread; the number of seeds must be at least 2, found {count}")
    if count > MOST:
        raise UserError(f"the number of seeds must be at most {MOST:,}, found {count}; each is a training")
    first = read_params("train").seed
    digest = settings_digest(parse_yaml(PARAMS))
    # The largest valid seed is followed by 0.
    seeds = [(first + offset) % 2**32 for offset in range(count)]
    tests = []
    for seed in seeds:
        tests.append(experiment(f"seed-{seed}-{digest}", {"train.seed": seed}).metrics()["test"])
        say(f"seed {seed}: accuracy {tests[-1]['accuracy']:.3f}")
    scores = {
        name: mean_and_spread([test[name] for test in tests]) for name in (*HIGHER_IS_BETTER, *SETS) if name in tests[0]
    }
    write_json(SEEDS, {"settings": digest, "rows": tests[0]["rows"], "seeds": seeds, **scores})
    for name, score in scores.items():
        low, high = score["interval"].values()
        ends = f"[{low:.4f}, {high:.4f}], spread {score['spread']:.4f}" if score["spread"] else "for every seed"
        say(f"{name}: mean {score['mean']:.4f} {ends}")
    say(f"{count} seeds: {SEEDS}")


if __name__ == "__main__":
    raise SystemExit(run(main))
