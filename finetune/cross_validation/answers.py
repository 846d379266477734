"""The answers of each fold's model and baselines to the rows of the fold, and the files that list them all."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import softmax

from finetune.base.errors import UserError
from finetune.evaluation.spreadsheet import write_spreadsheet
from finetune.results.revisions import Revision
from finetune.wording.names import BASELINES

BASELINE_ANSWERS = Path("data/predictions/baseline.parquet")
TESTED = Path("data/tokenized/test.parquet")


class Answers(NamedTuple):
    """One fold: the rows it tests, in the order of their ids, and the probabilities of each classifier, [rows, classes].

    `probabilities` are those of the fine-tuned model after temperature scaling. Of few_shot there are those of its best draw.
    """

    rows: np.ndarray  # int64: row ids
    labels: np.ndarray  # class ids
    texts: list[str]
    groups: list[str | None]
    probabilities: np.ndarray
    baselines: dict[str, np.ndarray]
    label_names: list[str]
    metrics: dict[str, dict]  # of the run


def fold_answers(fold: Revision) -> Answers:
    """Answers of a fold's run, from DVC's cache; raises UserError if they are no longer there or do not match."""
    again = f"`dvc exp remove {fold.name}` forgets this fold, and the next call runs it again"
    predictions = fold.predictions()
    if predictions is None:
        raise UserError(f"{fold.why_no_predictions}; {again}")
    try:
        baselines, tested = fold.stored(BASELINE_ANSWERS), fold.stored(TESTED)
    except UserError as error:
        raise UserError(f"{error}; {again}") from None
    if not all(table.column("row").equals(predictions.column("row")) for table in (baselines, tested)):
        raise UserError(f"the stages of {fold.name} are about different rows; {again}")
    return Answers(
        rows=predictions.column("row").to_numpy(),
        labels=predictions.column("label").to_numpy(),
        texts=tested.column("text").to_pylist(),
        groups=tested.column("group").to_pylist(),
        probabilities=softmax(np.array(predictions.column("logits").to_pylist(), float), axis=1),
        baselines={
            name: np.array(baselines.column(name).to_pylist()) for name in BASELINES if name in baselines.column_names
        },
        label_names=list(fold.metrics()["test"]["per_class"]),
        metrics=fold.metrics(),
    )


def write_answers(folds: list[Answers], folder: Path) -> tuple[Path, Path]:
    """Writes the rows of all folds in the order of their ids: folds.parquet, and folds.csv for a person to read."""
    folder.mkdir(parents=True, exist_ok=True)
    fold = np.repeat(np.arange(len(folds)), [len(part.rows) for part in folds])
    rows = np.concatenate([part.rows for part in folds])
    order = np.argsort(rows)
    labels = np.concatenate([part.labels for part in folds])
    probabilities = np.concatenate([part.probabilities for part in folds])
    predicted = probabilities.argmax(1)
    shared = [name for name in BASELINES if all(name in part.baselines for part in folds)]
    columns = {"fold": fold, "row": rows, "label": labels, "predicted": predicted, "probabilities": probabilities} | {
        name: np.concatenate([part.baselines[name] for part in folds]) for name in shared
    }
    columns = {name: values[order] for name, values in columns.items()}
    table, listing = folder / "folds.parquet", folder / "folds.csv"
    pq.write_table(
        pa.table({name: pa.array(list(values) if values.ndim > 1 else values) for name, values in columns.items()}),
        table,
    )
    names, texts = folds[0].label_names, [text for part in folds for text in part.texts]
    header = ["fold", "row", "label", "predicted", *(f"probability of {name}" for name in names), "text"]
    lines = (
        [fold[at], rows[at], names[labels[at]], names[predicted[at]], *probabilities[at], texts[at]] for at in order
    )
    write_spreadsheet(listing, header, lines)
    return table, listing
