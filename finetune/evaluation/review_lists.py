"""Rows for a person to look at: mistakes, near-duplicates across splits, doubtful labels."""

import numpy as np
from datasets import Dataset

from finetune.evaluation.near_duplicates import near_duplicates
from finetune.evaluation.suspicious_labels import suspicious_labels
from finetune.rows.stored import label_names

# CSV files for review and their columns.
COLUMNS = {
    "mistakes": ["row", "confidence", "label", "predicted", "text"],
    "behaviour": ["edit", "row", "label_before", "label_after", "before", "after"],
    "near_duplicates": ["split", "row", "other_split", "other_row", "similarity", "text", "other_text"],
    "suspicious_labels": ["split", "row", "label", "suggested", "confidence", "text"],
}


def mistake_rows(rows: Dataset, shares: np.ndarray, count: int) -> list[list]:
    """Wrong rows, the most confident first: row id, confidence, true label, predicted label, text."""
    names, labels, predicted = label_names(rows), np.asarray(rows["label"][:]), shares.argmax(1)
    confidence = shares.max(1)
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    ids, texts = rows["row"][:], rows["text"][:]
    return [
        [ids[place], confidence[place], names[labels[place]], names[predicted[place]], texts[place]] for place in wrong
    ]


def duplicate_rows(splits: dict[str, Dataset], similarity: float) -> tuple[dict[str, int], list[list]]:
    """How many texts of each split nearly stand in another, and each with the most similar one there."""
    texts = {name: rows["text"][:] for name, rows in splits.items()}
    ids = {name: rows["row"][:] for name, rows in splits.items()}
    counts = {"train_validation": 0, "train_test": 0, "validation_test": 0}
    found = []
    for pair in near_duplicates(texts, similarity):
        counts[f"{pair.other_split}_{pair.split}"] += 1
        ours, theirs = (pair.split, pair.place), (pair.other_split, pair.other_place)
        found.append(
            [ours[0], ids[ours[0]][ours[1]], theirs[0], ids[theirs[0]][theirs[1]], pair.similarity]
            + [texts[split][place] for split, place in (ours, theirs)]
        )
    return counts, sorted(found, key=lambda row: (row[0], row[2], -row[4], row[1]))


def doubtful_rows(splits: dict[str, Dataset], shares: dict[str, np.ndarray]) -> tuple[dict[str, int], list[list]]:
    """How many labels of each split are probably wrong, and each such row: the most doubtful of a split first."""
    counts, found = {}, []
    for name, rows in splits.items():
        names, labels = label_names(rows), np.asarray(rows["label"][:])
        places = suspicious_labels(labels, shares[name])
        counts[name] = len(places)
        for place in places.tolist():
            suggested = int(shares[name][place].argmax())
            row = rows[place]
            found.append(
                [name, row["row"], names[labels[place]], names[suggested], shares[name][place, suggested], row["text"]]
            )
    return counts, found
