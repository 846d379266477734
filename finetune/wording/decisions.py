"""What validation promises of a decision and what test gives, in words for card and report."""

from finetune.wording.numbers import interval, percent

TITLES = {
    "answered": "texts that get an answer",
    "accuracy": "accuracy of the answers",
    "precision": "precision of the label",
    "recall": "recall of the label",
    "f1": "macro F1",
}


def promise_rows(decision: dict) -> list[tuple[str, str, str, str, str]]:
    """Title of each score, its value and interval on validation, on which the rule was chosen, and on test."""
    return [
        (title, *shown(decision["validation"][name]), *shown(decision["test"].get(name)))
        for name, title in TITLES.items()
        if name in decision["validation"]
    ]


def shown(entry) -> tuple[str, str]:
    """A share and its interval, or a score without one; "-" for what no row gives."""
    if isinstance(entry, dict):
        return ("-", "-") if entry["value"] is None else (percent(entry["value"]), interval(entry["interval"]))
    return ("-" if entry is None else f"{entry:.3f}", "-")
