"""Rows for a person to look at: mistakes, near-duplicates across splits, doubtful labels."""

import numpy as np
from datasets import Dataset

from finetune.evaluation.near_duplicates import near_duplicates
from finetune.evaluation.suspicious_labels import suspicious_decisions, suspicious_labels
from finetune.rows.stored import class_ids, label_matrix, label_names
from finetune.scoring.label_sets import set_words

# CSV files for review and their columns.
COLUMNS = {
    "mistakes": ["row", "confidence", "label", "predicted", "text"],
    "behaviour": ["edit", "row", "label_before", "label_after", "before", "after"],
    "near_duplicates": ["split", "row", "other_split", "other_row", "similarity", "text", "other_text"],
    "suspicious_labels": ["split", "row", "label", "suggested", "confidence", "text"],
}


def mistake_rows(rows: Dataset, probabilities: np.ndarray, count: int) -> list[list]:
    """Wrong rows, the most confident first: row id, confidence, true label, predicted label, text."""
    names, labels, predicted = label_names(rows), class_ids(rows), probabilities.argmax(1)
    confidence = probabilities.max(1)
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    ids, texts = rows["row"][:], rows["text"][:]
    return [
        [ids[position], confidence[position], names[labels[position]], names[predicted[position]], texts[position]]
        for position in wrong
    ]


def wrong_set_rows(rows: Dataset, answers: np.ndarray, probabilities: np.ndarray, count: int) -> list[list]:
    """Rows with a wrong set of labels, first those with the surest wrong label, like `mistake_rows`.

    The confidence is that in the surest wrong label. `answers` (bool) and probabilities have the shape [rows, labels].
    """
    names, truth = label_names(rows), label_matrix(rows)
    wrong_by = np.where(truth != answers, np.abs(probabilities - truth), 0).max(1)
    wrong = np.flatnonzero(wrong_by > 0)
    wrong = wrong[np.argsort(-wrong_by[wrong], kind="stable")][:count]
    ids, texts = rows["row"][:], rows["text"][:]
    return [
        [ids[at], wrong_by[at], set_words(truth[at], names), set_words(answers[at], names), texts[at]]
        for at in wrong.tolist()
    ]


def duplicate_rows(splits: dict[str, Dataset], similarity: float) -> tuple[dict[str, int], list[list]]:
    """How many texts of each split have a near-duplicate in another, and each with the most similar one there."""
    texts = {name: rows["text"][:] for name, rows in splits.items()}
    ids = {name: rows["row"][:] for name, rows in splits.items()}
    counts = {"train_validation": 0, "train_test": 0, "validation_test": 0}
    listed = []
    for pair in near_duplicates(texts, similarity):
        counts[f"{pair.other_split}_{pair.split}"] += 1
        ours, theirs = (pair.split, pair.position), (pair.other_split, pair.other_position)
        listed.append(
            [ours[0], ids[ours[0]][ours[1]], theirs[0], ids[theirs[0]][theirs[1]], pair.similarity]
            + [texts[split][position] for split, position in (ours, theirs)]
        )
    return counts, sorted(listed, key=lambda row: (row[0], row[2], -row[4], row[1]))


def doubtful_rows(
    splits: dict[str, Dataset], probabilities: dict[str, np.ndarray]
) -> tuple[dict[str, int], list[list]]:
    """How many labels of each split are probably wrong, and those rows, the most doubtful of each split first."""
    counts, listed = {}, []
    for name, rows in splits.items():
        names, labels = label_names(rows), class_ids(rows)
        positions = suspicious_labels(labels, probabilities[name])
        counts[name] = len(positions)
        for position in positions.tolist():
            suggested = int(probabilities[name][position].argmax())
            row = rows[position]
            listed.append(
                [
                    name,
                    row["row"],
                    names[labels[position]],
                    names[suggested],
                    probabilities[name][position, suggested],
                    row["text"],
                ]
            )
    return counts, listed


def doubtful_set_rows(
    splits: dict[str, Dataset], probabilities: dict[str, np.ndarray | None]
) -> tuple[dict[str, int], list[list]]:
    """As `doubtful_rows`, for several labels: rows with a label that is probably there or missing by mistake.

    The confidence is that in the change of the most doubtful label. Probabilities have the shape [rows, labels].
    """
    counts, listed = {}, []
    for name, rows in splits.items():
        names, truth = label_names(rows), label_matrix(rows)
        suspicious = suspicious_decisions(truth, probabilities[name])
        positions = np.flatnonzero(suspicious.any(1))
        counts[name] = len(positions)
        if not len(positions):
            continue
        doubt = np.where(suspicious, np.abs(probabilities[name] - truth), 0).max(1)
        for at in positions[np.argsort(-doubt[positions], kind="stable")].tolist():
            row, suggested = rows[at], truth[at] ^ suspicious[at]
            listed.append(
                [name, row["row"], set_words(truth[at], names), set_words(suggested, names), doubt[at], row["text"]]
            )
    return counts, listed
