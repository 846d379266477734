"""Rows that a reader of the report can search: the model's mistakes, and rows that only one of two revisions gets right."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import expit, softmax

from finetune.results.predictions import has_label_sets, logits_of
from finetune.rows.label_lists import matrix_of
from finetune.scoring.label_sets import set_words
from finetune.wording.numbers import shortened

TEXTS = Path("data/tokenized/test.parquet")
ROWS = 2_000  # more would make a page of megabytes that no one reads
CHARACTERS = 600


def texts_by_row(path: Path = TEXTS) -> dict[int, str]:
    """Text of each test row by its row id."""
    table = pq.read_table(path, columns=["row", "text"])
    return dict(zip(table.column("row").to_pylist(), table.column("text").to_pylist(), strict=True))


def outcomes(predictions: pa.Table, label_names: list[str]) -> dict[int, tuple[str, str, float]]:
    """True answer, predicted answer and confidence of each test row by its row id.

    An answer is a label, or the names of several; then the confidence is that in the least sure of them.
    """
    columns = {name: predictions.column(name).to_pylist() for name in ("row", "label", "predicted")}
    if has_label_sets(predictions):
        probabilities = expit(logits_of(predictions))
        matrices = {name: matrix_of(predictions.column(name), len(label_names)) for name in ("label", "predicted")}
        confidences = np.where(matrices["predicted"], probabilities, 1 - probabilities).min(1)
        for name, matrix in matrices.items():
            columns[name] = [set_words(has, label_names) for has in matrix]
    else:
        confidences = softmax(logits_of(predictions), axis=1).max(1)
        for name in ("label", "predicted"):
            columns[name] = [label_names[label] for label in columns[name]]
    return {
        row: (label, predicted, float(confidence))
        for row, label, predicted, confidence in zip(*columns.values(), confidences, strict=True)
    }


def choice(name: str, answers: Iterable[str], label_names: list[str]) -> dict:
    """A column of answers that a reader can choose from: the labels, or the sets of labels that occur."""
    found = set(answers)
    return {
        "name": name,
        "kind": "choice",
        "options": label_names if found <= set(label_names) else sorted(found),
    }


def browsable(columns: list[dict], rows: list[list], texts: list[str]) -> dict:
    """What the page's script reads: columns, rows with the text last, and the number of rows left out and texts cut.

    A choice is stored as its position among the options.
    """
    positions = [
        {option: at for at, option in enumerate(column["options"])} if column["kind"] == "choice" else None
        for column in columns
    ]
    kept = [
        [value if known is None else known[value] for value, known in zip(row, positions, strict=True)]
        for row in rows[:ROWS]
    ]
    return {
        "columns": [*columns, {"name": "Text", "kind": "text"}],
        "rows": [[*row, shortened(text, CHARACTERS)] for row, text in zip(kept, texts, strict=False)],
        "left_out": len(rows) - len(kept),
        "cut": sum(len(text) > CHARACTERS for text in texts[: len(kept)]),
    }


def wrong_rows(predictions: pa.Table, texts: dict[int, str], label_names: list[str]) -> dict:
    """Mistakes, most confident first: row, true label, predicted label, confidence, text."""
    found = outcomes(predictions, label_names).items()
    wrong = [[row, label, predicted, round(sure, 4)] for row, (label, predicted, sure) in found if label != predicted]
    wrong.sort(key=lambda row: -row[3])
    columns = [
        {"name": "Row", "kind": "number"},
        choice("True label", (row[1] for row in wrong), label_names),
        choice("Predicted", (row[2] for row in wrong), label_names),
        {"name": "Confidence", "kind": "share"},
    ]
    return browsable(columns, wrong, [texts.get(row[0], "") for row in wrong])


def disagreements(
    base: pa.Table, head: pa.Table, texts: dict[int, str], label_names: list[str], base_name: str
) -> dict:
    """Rows of two revisions that only one of them gets right, sorted by this revision's confidence, highest first.

    Both tables hold the same rows. `common` counts them, `won` those that only this revision gets right, `lost` the others.
    """
    theirs, ours = (outcomes(side, label_names) for side in (base, head))
    right = ["this revision", base_name]
    apart = []
    for row, (label, predicted, confidence) in ours.items():
        before = theirs[row][1]
        if (predicted == label) != (before == label):
            apart.append([row, right[predicted != label], label, before, predicted, round(confidence, 4)])
    apart.sort(key=lambda row: -row[5])
    columns = [
        {"name": "Row", "kind": "number"},
        {"name": "Right", "kind": "choice", "options": right},
        choice("True label", (row[2] for row in apart), label_names),
        choice(f"Predicted by {base_name}", (row[3] for row in apart), label_names),
        choice("Predicted here", (row[4] for row in apart), label_names),
        {"name": "Confidence here", "kind": "share"},
    ]
    won = sum(row[1] == right[0] for row in apart)
    counts = {"common": len(ours), "won": won, "lost": len(apart) - won}
    return browsable(columns, apart, [texts.get(row[0], "") for row in apart]) | counts
