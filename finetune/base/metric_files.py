"""Metrics files: in metrics/ the headline of a run, which DVC compares, and in metrics/detail/ everything else.

Readers join both under the same dotted names, so a key may move from one file to the other.
"""

from pathlib import Path

from finetune.base.files import read_json, write_json

METRICS = Path("metrics")
# A folder for each stage: DVC clears it before the stage runs. dvc.yaml lists it under `plots`, which keeps it in Git.
DETAIL = METRICS / "detail"
SETS = ("micro_f1", "sample_f1", "hamming_loss", "average_precision", "lrap")  # scores of several labels per text
# Each file with the stage that writes it and the keys of its headline, "*" for any name: together they fit on a screen.
FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "data": ("tokenize", ("rows", "dropped", "truncated")),
    "baseline": ("baseline_eval", ("best", "*.accuracy", "*.f1", "*.micro_f1")),
    "train": ("train", ("validation", "best_epoch")),
    "test": (
        "evaluate",
        (
            "accuracy",
            "interval",
            "gain",
            "rows",
            "precision",
            "recall",
            "f1",
            "roc_auc",
            "log_loss",
            "brier",
            "ece",
            *SETS,
        ),
    ),
    "slices": ("evaluate", ()),
    "behaviour": ("evaluate", ()),
    "checks": ("evaluate", ()),
    "export": ("export", ("*.agreement", "megabytes")),
}


def split_metrics(metrics: dict, keys: tuple[str, ...]) -> tuple[dict, dict]:
    """Headline and detail: what `keys` name, and the rest. A key is dotted, and it names all that is below it.

    A list stays in the headline: DVC shows no list among metrics, but it would draw one that it finds in the detail.

    {"f1": 0.8, "int8": {"agreement": 1, "why": "…"}}, ("*.agreement",) -> {"int8": {"agreement": 1}}, {"f1": 0.8, "int8": {"why": "…"}}
    """
    headline, detail = {}, {}
    for name, value in metrics.items():
        if name in keys or isinstance(value, list):  # a name may itself hold dots
            headline[name] = value
        elif isinstance(value, dict):
            below = tuple(key.partition(".")[2] for key in keys if key.partition(".")[0] in (name, "*") and "." in key)
            inner_headline, inner_detail = split_metrics(value, below)
            if inner_headline:
                headline[name] = inner_headline
            if inner_detail or not inner_headline:
                detail[name] = inner_detail
        else:
            detail[name] = value
    return headline, detail


def joined(headline: dict, detail: dict) -> dict:
    """The metrics that `split_metrics` split; the order of the keys may differ."""
    metrics = dict(headline)
    for name, value in detail.items():
        both = isinstance(value, dict) and isinstance(metrics.get(name), dict)
        metrics[name] = joined(metrics[name], value) if both else value
    return metrics


def write_metrics(name: str, metrics: dict):
    """A stage's metrics, for example "test": metrics/test.json and metrics/detail/evaluate/test.json."""
    stage, keys = FILES[name]
    headline, detail = split_metrics(metrics, keys) if keys else ({}, metrics)
    write_json(DETAIL / stage / f"{name}.json", detail)
    if keys:  # last: where there is a headline, there is its detail, also after a kill
        write_json(METRICS / f"{name}.json", headline)


def stage_metrics(name: str) -> dict:
    """Metrics that an earlier stage wrote; raises FileNotFoundError for a file that is missing."""
    stage, keys = FILES[name]
    headline = read_json(METRICS / f"{name}.json") if keys else {}
    return joined(headline, read_json(DETAIL / stage / f"{name}.json"))
