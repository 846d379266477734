"""Whether a metric is better, worse or within noise at one revision compared with another.

Two kinds of noise separate two scores, and their variances add:

- The rows. Other test rows would have given other scores. If both revisions' predictions are available, this is the
  variance of the difference when the same rows are drawn for both (paired bootstrap; Efron & Tibshirani 1993, ch. 6;
  Koehn 2004; for the accuracy Newcombe's paired interval), so rows that are hard for both do not count. Otherwise each score has its own variance, from its
  interval in Git (width / 2 / 1.96, squared) or a bound for it (`bound`), and the two are added as if the rows were independent.
- The training run. Another seed gives another model (Bouthillier et al. 2021, "Accounting for variance in machine
  learning benchmarks"): each side is one draw, so twice the squared spread between seeds is added. The spread is that of
  metrics/seeds.json (`make seeds`) of either revision, if it was measured with that revision's settings, otherwise
  `SPREAD`. A measured spread is itself uncertain: k seeds give it k - 1 degrees of freedom, and the sum has those of
  Welch and Satterthwaite (Welch 1947), so two seeds give a wide interval.

The interval of the difference is 95% and two-sided, difference ± t * √(rows + 2 * spread²), like every interval here;
a metric is worse when the whole interval lies on the wrong side, which happens by chance in at most one of 40
comparisons. The gate looks at eight metrics or more, but they move together, and the sum is conservative: rows on which two
seeds disagree count in both parts.
"""

import math
from dataclasses import dataclass

import pyarrow as pa
from scipy.stats import t

from finetune.base.errors import UserError
from finetune.base.metric_files import SETS
from finetune.evaluation.resampling import HIGHER_IS_BETTER
from finetune.gate.paired import paired_scores, variance_of
from finetune.results.experiments import settings_digest
from finetune.results.revisions import Revision
from finetune.results.score_files import is_number
from finetune.scoring.intervals import CONFIDENCE
from finetune.wording.numbers import dotted

# Standard deviations between seeds, for settings without a measured one. Five seeds of the default settings gave 0.006 for accuracy, F1
# and log_loss, 0.002 for roc_auc and brier, and 0.007 for ece; other data may vary more.
SETS_HIGHER_IS_BETTER = {name: name != "hamming_loss" for name in SETS}  # scores of several labels per text
SPREAD = dict.fromkeys(HIGHER_IS_BETTER | SETS_HIGHER_IS_BETTER, 0.01) | {
    "roc_auc": 0.005,
    "brier": 0.005,
    "log_loss": 0.02,
}
LOSS_SPREAD = 2.0  # standard deviation of a row's log loss over its mean; 2.03 on the default test rows
ABSENT = "-"  # a parameter that a revision does not have


@dataclass(frozen=True)
class Difference:
    """One metric at two revisions; `low` and `high` are the interval of head - base, None where it is unknown."""

    metric: str
    base: float | None
    head: float | None
    low: float | None
    high: float | None
    how: str  # "paired on 1276 rows", "intervals in Git" or ""
    verdict: str  # better, worse, within noise, new, missing, not a number


def metric_differences(base: Revision, head: Revision) -> list[Difference]:
    """Verdict on every metric that either revision has; raises UserError if one has no metrics."""
    ours, theirs = head.metrics()["test"], base.metrics()["test"]
    pair = paired_predictions(base, head)
    paired = paired_scores(*pair, bin_count(head.params())) if pair else {}
    differences = []
    for name, higher_is_better in (HIGHER_IS_BETTER | SETS_HIGHER_IS_BETTER).items():
        old, new = theirs.get(name), ours.get(name)
        if new is None:
            if old is not None:
                differences.append(Difference(name, number(old), None, None, None, "", "missing"))
        elif not is_number(new):
            differences.append(Difference(name, number(old), None, None, None, "", "not a number"))
        elif not is_number(old):
            differences.append(Difference(name, None, new, None, None, "", "new"))
        else:
            if name in paired:
                old, new, variance = paired[name]
                how = f"paired on {len(pair[0])} rows"
            else:
                variance, how = score_variance(name, theirs) + score_variance(name, ours), "intervals in Git"
            low, high = interval(new - old, variance, *seed_spread(name, base, head))
            rises, falls = (low > 0, high < 0) if higher_is_better else (high < 0, low > 0)
            verdict = "better" if rises else "worse" if falls else "within noise"
            differences.append(Difference(name, old, new, low, high, how, verdict))
    return differences


def number(value) -> float | None:
    """The value where it is a number, else None."""
    return value if is_number(value) else None


def interval(difference: float, rows: float, spread: float, freedom: float) -> tuple[float, float]:
    """Ends of the 95% interval of a difference, from the variance over rows and the spread between seeds.

    `freedom` is the spread's degrees of freedom, infinite for an assumed spread.
    """
    seeds = 2 * spread**2
    total = rows + seeds
    if total == 0:
        return difference, difference
    # Welch and Satterthwaite, with the variance over rows taken as known.
    freedom = freedom * (total / seeds) ** 2 if seeds else math.inf
    half = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(total)
    return difference - half, difference + half


def seed_spread(metric: str, base: Revision, head: Revision) -> tuple[float, float]:
    """Standard deviation of a metric between seeds and its degrees of freedom, measured at either revision or assumed."""
    for revision in (head, base):
        seeds = revision.metrics().get("seeds")
        if seeds and seeds.get("settings") == settings_digest(revision.params()):
            measured = seeds.get(metric)
            # A spread of 0 between a few seeds does not prove that no seed would differ.
            if measured and measured.get("spread") and len(measured.get("values") or []) > 1:
                return measured["spread"], len(measured["values"]) - 1
    return SPREAD[metric], math.inf


def score_variance(metric: str, test: dict) -> float:
    """Variance of a score over other test rows, from its interval in metrics/test.json or from the bound for it."""
    ends = (test.get("intervals") or {}).get(metric) or (test.get("interval") if metric == "accuracy" else None)
    if ends and is_number(ends.get("low")) and is_number(ends.get("high")) and ends["high"] > ends["low"]:
        return variance_of(ends)
    return bound(metric, test)


def bound(metric: str, test: dict) -> float:
    """Upper bound of a score's variance, from the score and the row counts alone.

    A mean over n rows of values between 0 and 1 has at most p (1 - p) / n. A score that is a mean over classes counts
    every class as if it had the rows of the smallest. The area under the ROC curve has at most A (1 - A) over the rows
    of the smaller class (Birnbaum & Klose 1957). The calibration error is bounded like the accuracy it is made of. Log
    loss has no such bound: `LOSS_SPREAD`. Two successes and two failures are added, because 30 rows without an error do
    not prove an error rate of 0 (Agresti & Coull 1998).
    """
    rows = test.get("rows")
    if not is_number(rows) or rows < 1:
        raise UserError(f"rows in metrics/test.json must be a number of at least 1, found {rows!r}; run `make repro`")
    if metric == "log_loss":
        return (LOSS_SPREAD * test[metric]) ** 2 / rows
    # Macro scores average over the labels that have test rows.
    classes = [label["rows"] for label in (test.get("per_class") or {}).values() if label.get("rows")] or [rows]
    if metric in ("precision", "recall", "f1"):
        rows = len(classes) * min(classes)
    elif metric == "roc_auc":
        rows = min(classes)
    share = test["accuracy"] if metric == "ece" and is_number(test.get("accuracy")) else test[metric]
    share = (min(1, max(0, share)) * rows + 2) / (rows + 4)
    return share * (1 - share) / rows


def paired_predictions(base: Revision, head: Revision) -> tuple[pa.Table, pa.Table] | None:
    """Both revisions' predictions on the same rows in the same order; None where they cannot be paired.

    A row's id is its position in the source, so different labels reveal different data.
    """
    ours = head.predictions()
    theirs = base.predictions() if ours is not None else None
    if theirs is None:
        return None
    positions = {row: position for position, row in enumerate(theirs.column("row").to_pylist())}
    ids = ours.column("row").to_pylist()
    if positions.keys() != set(ids):
        return None
    theirs = theirs.take([positions[row] for row in ids])
    return (theirs, ours) if theirs.column("label").equals(ours.column("label")) else None


def why_unpaired(base: Revision, head: Revision) -> str:
    """One line on why the two revisions' predictions were not compared row by row."""
    missing = base.why_no_predictions or head.why_no_predictions
    return missing or f"the test rows of {base} and {head} are not the same"


def bin_count(params: dict) -> int:
    """Bins of the calibration error, of parameters that today's schema may not take."""
    evaluate = params.get("evaluate")
    return evaluate["bins"] if isinstance(evaluate, dict) and isinstance(evaluate.get("bins"), int) else 15


def changed_params(base: Revision, head: Revision) -> list[tuple[str, object, object]]:
    """Parameters that differ, by their dotted names, with the value at base and at head; `ABSENT` where a revision lacks one."""
    old, new = dotted(base.params()), dotted(head.params())
    values = {name: (old.get(name, ABSENT), new.get(name, ABSENT)) for name in [*new, *old]}
    return [(name, *pair) for name, pair in values.items() if pair[0] != pair[1]]
