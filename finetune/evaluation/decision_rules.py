"""The rule of `decide`, chosen on validation alone, and what it gives there and on test."""

import numpy as np
from sklearn.metrics import f1_score

from finetune.base.errors import UserError
from finetune.base.params import check_decide
from finetune.base.params_results import Decide, LabelThreshold
from finetune.scoring.decisions import UNSURE, Decision
from finetune.scoring.intervals import share_interval

# Candidates lie on this grid, so that the rule that ships is the rule that was judged, to the last digit, and no difference
# between two machines moves a text across it.
STEPS = 10_000


def decision(
    decide: Decide,
    class_names: list[str],
    validation: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
) -> dict | None:
    """The rule, what was wanted, and what it gives on validation and on test; None if `decide` sets none.

    `validation` and `test` are labels and calibrated probabilities of shape [rows, classes]. Raises UserError if the rule does
    not fit the labels, or if no rule of this kind gives on validation what is wanted.
    """
    check_decide(decide, class_names)
    if decide.threshold is not None:
        rule = chosen_threshold(decide.threshold, class_names, *validation)
        wanted = decide.threshold.model_dump(exclude={"label"}, exclude_none=True)
    elif decide.min_accuracy is not None:
        rule, wanted = least_probability(decide.min_accuracy, *validation), {"accuracy": decide.min_accuracy}
    elif decide.min_probability is not None:
        rule, wanted = Decision(min_probability=decide.min_probability), {}
    else:
        return None
    measure = label_scores if rule.label is not None else answered_scores
    found = {"validation": measure(rule, *validation), "test": measure(rule, *test)}
    return rule.described(class_names) | {"wanted": wanted} | found


def levels_and_counts(scores: np.ndarray, marked: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Levels in order, how many scores are at least each, and how many of those are marked (True).

    The levels are 0, which every score reaches, and the scores rounded down to the grid: each includes the row it comes from.
    """
    levels = np.unique(np.append(np.floor(scores * STEPS) / STEPS, 0.0))
    order = np.argsort(scores, kind="stable")
    below = np.searchsorted(scores[order], levels)
    counted = np.append(0, np.cumsum(marked[order]))
    # The level of a score just under a point of the grid may be that point, which no score reaches.
    reached = below < len(scores)
    return levels[reached], len(scores) - below[reached], (counted[-1] - counted[below])[reached]


def least_probability(accuracy: float, labels: np.ndarray, probabilities: np.ndarray) -> Decision:
    """The lowest least probability whose answers are right at least this often: the one that answers most rows.

    Selective classification, El-Yaniv & Wiener 2010. Raises UserError if no least probability reaches the accuracy.
    """
    levels, rows, right = levels_and_counts(probabilities.max(1), probabilities.argmax(1) == labels)
    reached = right / rows
    if not (reached >= accuracy).any():
        raise UserError(
            f"decide.min_accuracy {accuracy:g} is reached by no least probability on the {len(labels):,} validation rows; the "
            f"highest accuracy is {reached.max():.3f}: lower it, or set it to null"
        )
    return Decision(min_probability=float(levels[reached >= accuracy][0]))


def chosen_threshold(
    wanted: LabelThreshold, class_names: list[str], labels: np.ndarray, probabilities: np.ndarray
) -> Decision:
    """The threshold with the highest recall among those with the wanted precision, or the reverse.

    The lowest threshold with a precision finds most of the label's rows; the highest one with a recall gives the fewest false
    alarms. Raises UserError if no threshold reaches the precision, or if no validation row has the label.
    """
    label = class_names.index(wanted.label)
    truth = labels == label
    if not truth.any():
        raise UserError(
            f"decide.threshold needs validation rows with the label {wanted.label}, and there are none; raise split.validation"
        )
    levels, rows, hits = levels_and_counts(probabilities[:, label], truth)
    if wanted.recall is not None:
        return Decision(label=label, threshold=float(levels[hits / truth.sum() >= wanted.recall][-1]))
    precision = hits / rows
    if not (precision >= wanted.precision).any():
        raise UserError(
            f"decide.threshold wants a precision of {wanted.precision:g} for {wanted.label}, which no threshold reaches on the "
            f"{len(labels):,} validation rows; the highest is {precision.max():.3f}: lower it, or want a recall"
        )
    return Decision(label=label, threshold=float(levels[precision >= wanted.precision][0]))


def share(count: int, rows: int) -> dict:
    """A share of rows with Wilson's interval; both are None for no rows."""
    known = rows > 0
    return {
        "value": count / rows if known else None,
        "rows": rows,
        "interval": share_interval(count, rows) if known else None,
    }


def answered_scores(rule: Decision, labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """Share of the rows that get an answer, and the accuracy of these answers."""
    answers = rule.answers(probabilities)
    given = answers != UNSURE
    right = int((answers == labels).sum())
    return {"answered": share(int(given.sum()), len(labels)), "accuracy": share(right, int(given.sum()))}


def label_scores(rule: Decision, labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """Precision and recall of the rule's label, accuracy and macro F1 of all answers."""
    answers = rule.answers(probabilities)
    answered, truth = answers == rule.label, labels == rule.label
    hits = int((answered & truth).sum())
    return {
        "precision": share(hits, int(answered.sum())),
        "recall": share(hits, int(truth.sum())),
        "accuracy": share(int((answers == labels).sum()), len(labels)),
        "f1": float(f1_score(labels, answers, labels=np.unique(labels), average="macro", zero_division=0)),
    }


def rule_line(rule: dict) -> str:
    """The rule of a decision, and what it gives on validation and on test, on one line."""
    shares = {
        split: ", ".join(f"{name} {entry['value']:.3f}" for name, entry in rule[split].items() if has_value(entry))
        for split in ("validation", "test")
    }
    if "threshold" in rule:
        named = f"{rule['threshold']['label']} from a probability of {rule['threshold']['probability']:.4f} on"
    else:
        named = f"answers from a probability of {rule['min_probability']:.4f} on"
    return f"{named}; validation {shares['validation']}; test {shares['test']}"


def has_value(entry) -> bool:
    """Whether an entry is a share of some rows."""
    return isinstance(entry, dict) and entry["value"] is not None
