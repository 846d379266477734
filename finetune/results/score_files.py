"""What readers of the metrics files rely on, checked with one line about the first thing that is wrong.

A file may hold more keys, and a file of an older version of the project may hold fewer: a reader names what it needs.
"""

import math
import sys
from collections.abc import Callable
from typing import NamedTuple

from finetune.base.errors import UserError
from finetune.base.metric_files import DETAIL, FILES, METRICS, split_metrics
from finetune.base.terminal import unsafe
from finetune.wording.names import BASELINES
from finetune.wording.numbers import shortened

WRITTEN_BY = {"seeds": "make seeds", "folds": "make folds"}  # files that no stage writes
FOUND = 40  # characters of a wrong value


class Leaf(NamedTuple):
    """A value that is no object: what it must be, in words, and the test for it."""

    words: str
    holds: Callable[[object], bool]


def is_number(value) -> bool:
    """Whether a value from JSON is a number that can be compared: neither NaN nor infinite nor true."""
    # Python's integers have no bound, and a float has one: a comparison takes both, also NaN.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_score(value) -> bool:
    """Whether a value from JSON is a number, NaN and infinities included."""
    return is_number(value) or (isinstance(value, float) and not math.isfinite(value))


def is_text(value) -> bool:
    """Whether a value from JSON is a text without characters that reorder or hide a line, or that UTF-8 lacks."""
    return isinstance(value, str) and not any(map(unsafe, value))


def is_trial(value) -> bool:
    """Whether a value from JSON is a trial of a search as the report shows it."""
    return (
        isinstance(value, dict)
        and is_number(value.get("trial"))
        and is_text(value.get("state"))
        and (value.get("value") is None or is_number(value["value"]))
        and (value.get("experiment") is None or is_text(value["experiment"]))
        and isinstance(value.get("settings"), dict)
    )


def are_trials(value) -> bool:
    """Whether a value from JSON is a list of trials of one search space, at least one of them with a score."""
    return (
        isinstance(value, list)
        and all(map(is_trial, value))
        and len({tuple(trial["settings"]) for trial in value}) == 1
        and any(trial["value"] is not None for trial in value)
    )


NUMBER = Leaf("a number", is_number)
SHARE = Leaf("a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)
COUNT = Leaf("a whole number of at least 0", lambda value: is_number(value) and value == int(value) >= 0)
ROWS = Leaf("a whole number of at least 1", lambda value: is_number(value) and value == int(value) >= 1)
ABOVE_0 = Leaf("a number above 0", lambda value: is_number(value) and value > 0)
# A score that is undefined, such as the area under the ROC curve of rows of one class, is written as NaN.
SCORE = Leaf("a number", is_score)
TEXT = Leaf("a printable text", is_text)
TEXTS = Leaf("a list of printable texts", lambda value: isinstance(value, list) and all(map(is_text, value)))
BEST = Leaf("the name of a baseline", lambda value: isinstance(value, str) and value in BASELINES)
TRIALS = Leaf("a list of trials of one search", are_trials)
NUMBERS = Leaf("a list of numbers", lambda value: isinstance(value, list) and all(map(is_number, value)))

# An object's keys and what each must hold; "?" marks a key that may be missing or null, "*" stands for all other keys.
INTERVAL = {"low": NUMBER, "high": NUMBER}
CLASSIFIER = {"accuracy": SHARE, "f1": SHARE, "interval": INTERVAL}
PART = {"accuracy": SHARE, "rows": COUNT, "interval": INTERVAL}
LABEL = {"rows?": COUNT, "precision?": SHARE, "recall?": SHARE, "f1?": SHARE}
COMPARED = {  # the gate's comparison has a verdict of its own for a score that is missing or no number
    "interval?": {"low": SCORE, "high": SCORE},
    "intervals?": {"*": {"low": SCORE, "high": SCORE}},
    "per_class?": {"*": LABEL},
    "calibration?": {"temperature?": ABOVE_0, "uncalibrated?": {"*": SCORE}},
    "rows_digest?": TEXT,
}
SCORES = CLASSIFIER | {"rows": ROWS, "gain": INTERVAL | {"value": NUMBER, "p_value": SHARE}, "absent?": TEXTS}
OPTIONAL_SHARE = {"value?": SHARE, "rows": COUNT, "interval?": INTERVAL}
PROMISED = {"f1?": SHARE, "*": OPTIONAL_SHARE}
DECISION = {
    "min_probability?": SHARE,
    "threshold?": {"label": TEXT, "probability": SHARE},
    "wanted?": {"*": SHARE},
    "validation": PROMISED,
    "test": PROMISED,
}
REPORTED = (
    COMPARED
    | SCORES
    | {"per_class": {"*": LABEL | {"rows": COUNT}}, "precision": SHARE, "recall": SHARE, "selective?": {"*": PART}}
    | {"roc_auc": SCORE, "decision?": DECISION}
    | {f"{name}?": SCORE for name in ("log_loss", "brier", "ece")}
)
SEEDS = {
    "settings": TEXT,
    "rows?": COUNT,
    "seeds?": NUMBERS,
    "*": {"mean?": NUMBER, "spread?": NUMBER, "interval?": INTERVAL, "values?": NUMBERS},
}
FOLDS = (
    CLASSIFIER
    | {"settings": TEXT, "data?": TEXT, "folds": ROWS, "fold_rows": NUMBERS, "groups?": ROWS, "rows": ROWS}
    | {"gain": INTERVAL | {"value": NUMBER, "p_value?": SHARE}, "intervals": {"*": {"low": SCORE, "high": SCORE}}}
    | {f"{name}?": SCORE for name in ("precision", "recall", "roc_auc", "log_loss", "brier", "ece")}
    | {"mean": {"*": SCORE}, "spread": {"*": SCORE}, "values": {"*": NUMBERS}}
    | {"best": BEST, "baselines": {"*": CLASSIFIER}, "skipped?": {"*": TEXT}, "train_rows?": ROWS}
)
BASELINE = {"best": BEST, "skipped?": {"*": TEXT}, "train_rows?": ROWS} | {f"{name}?": CLASSIFIER for name in BASELINES}

# What each file must hold for the comparison with another revision, for the table of classifiers, and for the report.
COMPARISON = {"test": COMPARED, "seeds": SEEDS}
TABLE = {"test": SCORES, "baseline": BASELINE, "folds": FOLDS}
REPORT = {
    "test": REPORTED,
    "baseline": BASELINE,
    "data": {
        "rows": {"*": COUNT},
        "labels": {"*": COUNT},
        "dropped": {"*": COUNT},
        "tokens": {"mean": NUMBER},
        "truncated": SHARE,
    },
    "train": {
        "best_epoch": COUNT,
        "epochs": NUMBER,
        "steps": COUNT,
        "precision": TEXT,
        "parameters": {"total": COUNT, "trained": COUNT},
    },
    "slices": {"worst?": PART | {"slice": TEXT}, "*": {"*": PART}},
    "behaviour": {"*": {"failure_rate": SHARE, "rows": COUNT, "interval": INTERVAL}},
    "checks": {"near_duplicates": {"*": COUNT}, "suspicious_labels": {"*": COUNT}, "train_rows?": ROWS},
    "seeds": SEEDS,
    "folds": FOLDS,
    "search": {"settings": TEXT, "metric": TEXT, "trials": TRIALS, "importances": {"*": NUMBER}, "words": TEXTS},
}


def check_scores(metrics: dict, shapes: dict[str, dict], revision: str | None = None):
    """Raises UserError for the first metrics file, by its name, that lacks what its shape asks for.

    `revision` is None for the workspace. A file that is missing is no mistake here.
    """
    for name, shape in shapes.items():
        if name not in metrics:
            continue
        wrong = problem(metrics[name], shape)
        if wrong:
            raise UserError(f"{where(name, wrong.split(' ')[0], revision)}: {wrong}; {remedy(name, revision)}")


def problem(value, shape: dict | Leaf, path: str = "") -> str | None:
    """What is wrong with a value, beginning with its dotted key; None if it has the shape."""
    if isinstance(shape, Leaf):
        return None if shape.holds(value) else f"{path} must be {shape.words}, found {found(value)}"
    if not isinstance(value, dict):
        return f"{path} must be an object, found {found(value)}"
    if unprintable := next((name for name in value if not is_text(name)), None):
        return f"{path}{' ' * bool(path)}must have printable names, found {found(unprintable)}"
    named = {key.rstrip("?") for key in shape}
    for key, inner in shape.items():
        name = key.rstrip("?")
        if key == "*":
            parts = [part for part in value if part not in named]
        elif value.get(name) is not None:
            parts = [name]
        elif key == name:
            return f"{path}{'.' * bool(path)}{name} is missing"
        else:
            continue
        for part in parts:
            wrong = problem(value[part], inner, f"{path}.{part}" if path else part)
            if wrong:
                return wrong
    return None


def found(value) -> str:
    """A wrong value for a message, on one line and not too long."""
    kinds = {dict: "an object", list: "a list", type(None): "null"}
    return kinds.get(type(value)) or shortened(repr(value), FOUND)


def where(name: str, key: str, revision: str | None) -> str:
    """The file in which a dotted key is, or would be: a run's headline, or its detail."""
    headline = METRICS / f"{name}.json"
    if revision is not None or name not in FILES:
        return f"{headline} at {revision}" if revision is not None else str(headline)
    nested = None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    stage, keys = FILES[name]
    detail = DETAIL / stage / f"{name}.json"
    files = [headline, detail] if split_metrics(nested, keys)[0] else [detail, headline]
    existing = [path for path in files if path.is_file()]
    part = f'"{key.rpartition(".")[2]}"'
    return str(next((path for path in existing if part in path.read_text(encoding="utf-8")), (existing or files)[0]))


def remedy(name: str, revision: str | None) -> str:
    """What to do about a wrong metrics file."""
    if revision is not None:
        return "run `make repro` there and commit metrics/"
    return f"bring it back with `git restore {METRICS}` or run `{WRITTEN_BY.get(name, 'dvc repro')}`"


def of_shipped_model(test: dict) -> dict:
    """metrics/test.json with the scores of the probabilities that ship, as it is written today.

    Older files held the scores before temperature scaling, and those after it under `calibration`. The three scores that
    scaling changes lose their intervals, which were those before it.
    """
    calibration = test.get("calibration")
    if not isinstance(calibration, dict) or "ece" not in calibration:
        return test
    after = {name: value for name, value in calibration.items() if name != "temperature"}
    before = {name: test[name] for name in after if name in test}
    intervals = test.get("intervals")
    intervals = (
        {name: ends for name, ends in intervals.items() if name not in after} if isinstance(intervals, dict) else {}
    )
    scaling = {"temperature": calibration.get("temperature"), "uncalibrated": before}
    return test | after | {"intervals": intervals, "calibration": scaling}
