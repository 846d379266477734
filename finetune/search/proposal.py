"""What a search proposes: whether its best settings beat the defaults by more than the noise between seeds.

The best of many trials is optimistic: it was lucky on the validation rows and with its seed. So both settings are trained
again with seeds that chose nothing, and compared on validation, and, once the choice is made, on the test rows.
"""

import numpy as np
from scipy.stats import norm, ttest_ind

from finetune.gate.noise import SPREAD, paired_predictions
from finetune.results.metrics import look_up
from finetune.results.revisions import Revision
from finetune.scoring.intervals import CONFIDENCE, crossed_interval, paired_gain
from finetune.search.space import SEED
from finetune.search.study import experiment_name
from finetune.search.trials import check_experiment
from finetune.seeds import mean_and_spread

ASSUMED = {"accuracy": SPREAD["accuracy"], "f1": SPREAD["f1"], "loss": SPREAD["log_loss"]}


class Arm:
    """One of the two settings that are compared, with an experiment for each seed."""

    def __init__(self, values: dict, settings: dict, checksums: dict[str, str], seeds: list[int]):
        self.seeds, self.revisions = seeds, []
        for seed in seeds:
            chosen = settings | {SEED: seed}
            name = experiment_name(values, chosen, checksums)
            check_experiment(name, chosen)
            self.revisions.append(Revision(name))

    def scores(self, metric: str) -> list[float]:
        """The metric of metrics/train.json for each seed."""
        return [look_up(revision.metrics()["train"], metric) for revision in self.revisions]


def difference(theirs: list[float], ours: list[float], metric: str) -> dict:
    """Difference of the means over seeds, with Welch's 95% interval (Welch 1947): {"value", "low", "high", "assumed"}.

    One seed a side, or seeds that all agree, say nothing about the spread; the gate's assumed one stands in, and `assumed` is it.
    """
    value = float(np.mean(ours) - np.mean(theirs))
    if len(ours) > 1 and (np.std(ours) > 0 or np.std(theirs) > 0):
        ends = ttest_ind(ours, theirs, equal_var=False).confidence_interval(CONFIDENCE)
        return {"value": value, "low": float(ends.low), "high": float(ends.high), "assumed": None}
    spread = ASSUMED[metric.rpartition(".")[2]]
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * spread * (1 / len(ours) + 1 / len(theirs)) ** 0.5
    return {"value": value, "low": value - half, "high": value + half, "assumed": spread}


def difference_on_test(theirs: list[Revision], ours: list[Revision]) -> dict:
    """Difference in test accuracy on the same rows, mean over the seeds: {"value", "low", "high", "rows"}, or {"missing": why}.

    Several seeds: both rows and seeds are resampled (`crossed_interval`); one seed: Newcombe's paired interval.
    """
    right = []
    for base, head in zip(theirs, ours, strict=True):
        pair = paired_predictions(base, head)
        if pair is None:
            return {"missing": base.why_no_predictions or head.why_no_predictions or "the test rows are not the same"}
        right.append([side.column("label").to_numpy() == side.column("predicted").to_numpy() for side in pair])
    gains = np.array([ours.astype(float) - theirs for theirs, ours in right])  # [seeds, rows]
    if len(gains) > 1 and gains.any():
        ends = crossed_interval(gains)
    else:
        base, head = right[0]
        ends = {name: value for name, value in paired_gain(head, base).items() if name in ("low", "high")}
    return {"value": float(gains.mean()), **ends, "rows": gains.shape[1]}


def proposal(values: dict, best: dict, start: dict, metric: str, seeds: list[int], checksums: dict[str, str]) -> dict:
    """The comparison of the best trial with the first one, which is params.yaml as it is.

    `best` and `start` are trials as the table has them; `seeds` are those of the comparison, or the search's own seed alone.
    """
    fresh = seeds != [values["train"]["seed"]]
    arms = [Arm(values, trial["used"], checksums, seeds) for trial in (start, best)]
    theirs, ours = (arm.scores(metric) for arm in arms)
    sign = -1 if metric.endswith("loss") else 1
    measured = difference(theirs, ours, metric)
    gain = {"search": best["value"] - start["value"], "validation": measured}
    low = min(sign * measured["low"], sign * measured["high"])  # of the improvement
    return {
        "trial": best["trial"],
        "experiment": best["experiment"],
        "settings": best["settings"],
        "seeds": seeds if fresh else [],
        "defaults": mean_and_spread(theirs) if len(theirs) > 1 else {"mean": theirs[0]},
        "best": mean_and_spread(ours) if len(ours) > 1 else {"mean": ours[0]},
        "gain": gain,
        "adopt": bool(low > 0),
        "test": difference_on_test(*(arm.revisions for arm in arms)),
    }


def ends(block: dict) -> str:
    """A difference with its interval: "+0.004 (95% interval -0.006 to +0.014)"."""
    return f"{block['value']:+.4f} (95% interval {block['low']:+.4f} to {block['high']:+.4f})"


def in_words(found: dict | None, metric: str, trials: int) -> list[str]:
    """The proposal as lines; `found` is None if no trial scored better than the defaults."""
    if found is None:
        return [f"No setting beat the defaults on {metric} in {trials} trials. Keep the defaults."]
    seeds = found["seeds"]
    measured = found["gain"]["validation"]
    if measured["assumed"] is not None:
        noise = f"assuming a spread of {measured['assumed']} between seeds" + ("" if seeds else "; search.seeds is 0")
    else:
        noise = f"{len(seeds)} seeds each that chose nothing"
    verdict = (
        f"Trial {found['trial']} beats the defaults by more than the noise between seeds"
        if found["adopt"]
        else "No setting beat the defaults by more than the noise between seeds; keep the defaults. The best one"
    )
    lines = [f"{verdict}: {metric} {ends(measured)}, {noise}."]
    lines += [
        f"In the search it differed by {found['gain']['search']:+.4f}: the best of {trials} trials is optimistic, because luck "
        "with rows and seed helped to choose it."
    ]
    test = found["test"]
    if "missing" in test:
        lines += [f"On test they cannot be compared: {test['missing']}."]
    else:
        lines += [f"On the {test['rows']} test rows, which chose nothing: accuracy {ends(test)}."]
    ending = "Adopt it" if found["adopt"] else "To take it all the same"
    lines += [f"{ending}: `dvc exp apply {found['experiment']}`, then `make repro`."]
    return lines
