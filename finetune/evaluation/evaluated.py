"""What the stage writes about the fine-tuned model, for one label per text or several; and the baselines it is compared with."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from finetune.base.errors import UserError
from finetune.rows.stored import column

ANSWERS = ".answers"  # ends the name of a column of answers, bool, beside that of the probabilities


class Evaluated(NamedTuple):
    """The model on the test rows; logits and probabilities, before and after scaling, have the shape [rows, classes].

    `predicted` is a column of class ids, or of lists of them. `slices` holds the scores of all slices, `metrics` the content of
    each metrics file, `tables` the rows of each table for review.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    calibrated: np.ndarray
    predicted: pa.Array
    slices: dict[str, dict]
    metrics: dict[str, dict]
    tables: dict[str, list]


class Baselines(NamedTuple):
    """Answers of the baselines to the test rows, as the stage before stored them, and the name of the best."""

    best: str
    stored: pa.Table

    def probabilities(self, name: str) -> np.ndarray:
        """Of shape [rows, classes]."""
        return np.array(self.stored.column(name).to_pylist())

    def answers(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For several labels per text: probabilities and answers of each baseline, both of shape [rows, labels]."""
        names = [name.removesuffix(ANSWERS) for name in self.stored.column_names if name.endswith(ANSWERS)]
        return {name: (self.probabilities(name), self.probabilities(name + ANSWERS)) for name in names}


def stored_baselines(path: Path, best: str, test: Dataset) -> Baselines:
    """The baselines' answers in a file; raises UserError when they are to other rows than these test rows."""
    stored = pq.read_table(path)
    if not stored.column("row").equals(column(test, "row")):
        raise UserError(f"{path} is about other rows than data/tokenized/test.parquet; run `dvc repro baseline_eval`")
    return Baselines(best, stored)
