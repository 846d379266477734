"""Slices: subsets of the rows, each with its own accuracy, and the worst of them."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from finetune.base.params_results import Slices
from finetune.evaluation.words import any_of, plain_apostrophes
from finetune.rows.stored import class_ids, label_names, token_ids
from finetune.scoring.intervals import CONFIDENCE, accuracy_entry, share_interval


def length_names(lengths: np.ndarray) -> np.ndarray:
    """ "short", "medium" or "long" of each row, in thirds by tokens; rows of one length stay together.

    >>> length_names(np.array([3, 9, 5, 3, 9, 6])).tolist()
    ['short', 'long', 'medium', 'short', 'long', 'medium']
    """
    first, second = np.quantile(lengths, [1 / 3, 2 / 3])
    # If many texts are cut to one length, both limits can be that length; those texts count as long.
    return np.where(lengths >= second, "long", np.where(lengths <= first, "short", "medium"))


def slice_names(
    texts: Sequence[str],
    lengths: np.ndarray,
    truncated: Sequence[bool],
    labels: Sequence[str],
    groups: Sequence[str | None],
    negations: Sequence[str],
) -> dict[str, tuple[list[str], np.ndarray]]:
    """Slices of each kind in order, and the one that each row is in; a row without a group is in none (None)."""
    kinds = {
        "length": (["short", "medium", "long"], length_names(lengths)),
        "truncated": (["yes", "no"], np.where(truncated, "yes", "no")),
    }
    if negations:
        pattern = any_of(negations)
        negated = [bool(pattern.search(plain_apostrophes(text))) for text in texts]
        kinds["negation"] = (["with", "without"], np.where(negated, "with", "without"))
    kinds["label"] = (list(dict.fromkeys(labels)), np.array(labels, object))
    known = sorted({group for group in groups if group is not None})
    return kinds | {"group": (known, np.array(groups, object))}


def slice_scores(right: np.ndarray, kinds: dict, min_rows: int) -> dict[str, dict[str, dict]]:
    """Accuracy, rows and interval of each slice by kind and name; empty ones are left out.

    Groups of fewer than `min_rows` rows are left out too; there may be thousands. With 30 rows and an
    accuracy of 0.8 the interval is already 28 points wide; with fewer it says next to nothing.
    """
    scores = {}
    for kind, (names, of_row) in kinds.items():
        members = {name: right[of_row == name] for name in names}
        smallest = min_rows if kind == "group" else 1
        scores[kind] = {name: accuracy_entry(rows) for name, rows in members.items() if len(rows) >= smallest}
    return scores


def slices_of(rows: Dataset, right: np.ndarray, settings: Slices) -> dict[str, dict[str, dict]]:
    """Accuracy of each slice of the rows, by kind and name."""
    names = label_names(rows)
    kinds = slice_names(
        texts=rows["text"][:],
        lengths=token_ids(rows).lengths,
        truncated=rows["truncated"][:],
        labels=[names[label] for label in class_ids(rows)],
        groups=rows["group"][:],
        negations=settings.negations,
    )
    return slice_scores(right, kinds, settings.min_rows)


def slice_metrics(scores: dict[str, dict[str, dict]], min_rows: int) -> dict:
    """Content of slices.json: the scores by kind, and the worst slice. Single groups are not listed, but one can be the worst."""
    worst = worst_slice(scores, min_rows)
    listed = {kind: entries for kind, entries in scores.items() if kind != "group"}
    return listed | ({"worst": worst} if worst else {})


def worst_slice(scores: dict[str, dict[str, dict]], min_rows: int) -> dict | None:
    """The slice with the lowest accuracy among all of at least `min_rows` rows, or None if there is none.

    The lowest of k slices is partly low by chance. Its interval is therefore wider than in the list of
    slices: all k such intervals hold together at the usual confidence (Bonferroni; k is `compared`). If
    that interval still ends below the accuracy over all rows, the slice is worse by more than chance.
    The accuracy of a label's slice is the label's recall.
    """
    entries = [
        (f"{kind}: {name}", entry)
        for kind, members in scores.items()
        for name, entry in members.items()
        if entry["rows"] >= min_rows
    ]
    if not entries:
        return None
    name, entry = min(entries, key=lambda pair: pair[1]["accuracy"])
    count = round(entry["accuracy"] * entry["rows"])
    interval = share_interval(count, entry["rows"], 1 - (1 - CONFIDENCE) / len(entries))
    return {"slice": name, **entry, "interval": interval, "compared": len(entries)}
