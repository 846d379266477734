"""Rows that a reader of the report can search: the model's mistakes, and rows that only one of two revisions gets right."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import softmax

from finetune.wording.numbers import shortened

TEXTS = Path("data/tokenized/test.parquet")
ROWS = 2_000  # more would make a page of megabytes that no one reads
CHARACTERS = 600


def texts_by_row(path: Path = TEXTS) -> dict[int, str]:
    """Text of each test row by its row id."""
    table = pq.read_table(path, columns=["row", "text"])
    return dict(zip(table.column("row").to_pylist(), table.column("text").to_pylist(), strict=True))


def outcomes(predictions: pa.Table) -> dict[int, tuple[int, int, float]]:
    """True label, predicted label and confidence of each test row by its row id."""
    columns = {name: predictions.column(name).to_pylist() for name in ("row", "label", "predicted")}
    confidences = softmax(np.array(predictions.column("logits").to_pylist(), float), axis=1).max(1)
    return {
        row: (label, predicted, float(confidence))
        for row, label, predicted, confidence in zip(*columns.values(), confidences, strict=True)
    }


def browsable(columns: list[dict], rows: list[list], texts: list[str]) -> dict:
    """What the page's script reads: columns, rows with the text last, and the number of rows left out and texts cut."""
    kept = rows[:ROWS]
    return {
        "columns": [*columns, {"name": "Text", "kind": "text"}],
        "rows": [[*row, shortened(text, CHARACTERS)] for row, text in zip(kept, texts, strict=False)],
        "left_out": len(rows) - len(kept),
        "cut": sum(len(text) > CHARACTERS for text in texts[: len(kept)]),
    }


def wrong_rows(predictions: pa.Table, texts: dict[int, str], label_names: list[str]) -> dict:
    """Mistakes, most confident first: row, true label, predicted label, confidence, text."""
    wrong = [(row, *outcome) for row, outcome in outcomes(predictions).items() if outcome[0] != outcome[1]]
    wrong.sort(key=lambda row: -row[3])
    columns = [
        {"name": "Row", "kind": "number"},
        {"name": "True label", "kind": "choice", "options": label_names},
        {"name": "Predicted", "kind": "choice", "options": label_names},
        {"name": "Confidence", "kind": "share"},
    ]
    rows = [[row, label, predicted, round(confidence, 4)] for row, label, predicted, confidence in wrong]
    return browsable(columns, rows, [texts.get(row, "") for row, *_ in wrong])


def disagreements(
    base: pa.Table, head: pa.Table, texts: dict[int, str], label_names: list[str], base_name: str
) -> dict:
    """Rows of two revisions that only one of them gets right, sorted by this revision's confidence, highest first.

    Both tables hold the same rows. `common` counts them, `won` those that only this revision gets right, `lost` the others.
    """
    theirs, ours = outcomes(base), outcomes(head)
    apart = []
    for row, (label, predicted, confidence) in ours.items():
        before = theirs[row][1]
        if (predicted == label) != (before == label):
            apart.append([row, int(predicted != label), label, before, predicted, round(confidence, 4)])
    apart.sort(key=lambda row: -row[5])
    columns = [
        {"name": "Row", "kind": "number"},
        {"name": "Right", "kind": "choice", "options": ["this revision", base_name]},
        {"name": "True label", "kind": "choice", "options": label_names},
        {"name": f"Predicted by {base_name}", "kind": "choice", "options": label_names},
        {"name": "Predicted here", "kind": "choice", "options": label_names},
        {"name": "Confidence here", "kind": "share"},
    ]
    won = sum(row[1] == 0 for row in apart)
    counts = {"common": len(ours), "won": won, "lost": len(apart) - won}
    return browsable(columns, apart, [texts.get(row[0], "") for row in apart]) | counts
