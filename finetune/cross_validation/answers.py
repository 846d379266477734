"""The answers of each fold's model and baselines to the rows of the fold, and the files that list them all."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from finetune.base.errors import UserError
from finetune.cross_validation.task import Task, task_of
from finetune.evaluation.spreadsheet import write_spreadsheet
from finetune.results.revisions import Revision
from finetune.wording.names import BASELINES

BASELINE_ANSWERS = Path("data/predictions/baseline.parquet")
TESTED = Path("data/tokenized/test.parquet")


class Answered(NamedTuple):
    """Probabilities of a classifier, [rows, classes], and its answers as the task has them."""

    probabilities: np.ndarray
    answers: np.ndarray


class Answers(NamedTuple):
    """One fold: the rows it tests, in the order of their ids, and the answers of each classifier.

    `ours` are those of the fine-tuned model after temperature scaling. Of few_shot there are those of its best draw.
    """

    task: Task
    rows: np.ndarray  # int64: row ids
    labels: np.ndarray  # the true answers
    texts: list[str]
    groups: list[str | None]
    ours: Answered
    baselines: dict[str, Answered]
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
    task = task_of(predictions)
    return Answers(
        task=task,
        rows=predictions.column("row").to_numpy(),
        labels=task.truth(predictions),
        texts=tested.column("text").to_pylist(),
        groups=tested.column("group").to_pylist(),
        ours=Answered(*task.answers(predictions)),
        baselines={
            name: Answered(*task.baseline(baselines, name)) for name in BASELINES if name in baselines.column_names
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
    task = folds[0].task
    labels = np.concatenate([part.labels for part in folds])
    predicted = np.concatenate([part.ours.answers for part in folds])
    probabilities = np.concatenate([part.ours.probabilities for part in folds])
    shared = [name for name in BASELINES if all(name in part.baselines for part in folds)]
    answers = {"label": labels, "predicted": predicted}
    shares = {"probabilities": probabilities} | {
        name: np.concatenate([part.baselines[name].probabilities for part in folds]) for name in shared
    }
    columns = {"fold": pa.array(fold[order]), "row": pa.array(rows[order])}
    columns |= {name: task.stored(values[order]) for name, values in answers.items()}
    columns |= {name: pa.array(list(values[order])) for name, values in shares.items()}
    table, listing = folder / "folds.parquet", folder / "folds.csv"
    pq.write_table(pa.table(columns), table)
    names, texts = folds[0].label_names, [text for part in folds for text in part.texts]
    header = ["fold", "row", "label", "predicted", *(f"probability of {name}" for name in names), "text"]
    lines = (
        [
            fold[at],
            rows[at],
            task.words(labels[at], names),
            task.words(predicted[at], names),
            *probabilities[at],
            texts[at],
        ]
        for at in order
    )
    write_spreadsheet(listing, header, lines)
    return table, listing
