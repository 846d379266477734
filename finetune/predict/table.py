"""A table with its answers: the old columns unchanged, the answers in new ones."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from tqdm import tqdm

from finetune.base.errors import UserError
from finetune.base.files import file_kind
from finetune.base.names import normal_name
from finetune.base.terminal import say
from finetune.predict.answers import CHUNK, Answers, answers
from finetune.predict.columns import Survey, read_columns, survey
from finetune.predict.writer import json_writer, table_writer, written_format
from finetune.runtime.classifier import Classifier
from finetune.sources.tables import SEPARATOR_HINTS, MissingColumn


def check_files(path: Path, output: Path | None):
    """Raises UserError if the table cannot be read from `path` or written to `output`."""
    if not path.is_file():
        raise UserError(f"{path} is {file_kind(path)}; expected a table in a file, such as reviews.csv")
    if output is not None:
        written_format(output)
        if not output.parent.is_dir():
            raise UserError(f"there is no folder {output.parent} to write {output.name} into; create it first")
        if output.exists() and (not output.is_file() or output.samefile(path)):
            what = "the input itself" if output.is_file() else file_kind(output)
            raise UserError(f"{output} is {what}; choose another file for the output")


def answer_columns(classifier: Classifier, prefix: str) -> list[pa.Field]:
    """The new columns: the label, its probability, and the probability of each class; if a text may be unsure, also whether it is.

    Of a model for several labels per text: the list of labels, and the probability of each.
    """
    each = [pa.field(f"{prefix}probability_{label}", pa.float64()) for label in classifier.labels]
    if classifier.several:
        return [pa.field(f"{prefix}labels", pa.list_(pa.string())), *each]
    return [
        pa.field(f"{prefix}label", pa.string()),
        *([pa.field(f"{prefix}unsure", pa.bool_())] if classifier.decision.leaves_unsure else []),
        pa.field(f"{prefix}probability", pa.float64()),
        *each,
    ]


def answer_values(classifier: Classifier, answered: Answers) -> list:
    """The values of `answer_columns`."""
    each = [pa.array(column, from_pandas=True) for column in answered.probabilities.T]
    if classifier.several:
        return [pa.array(answered.labels, pa.list_(pa.string())), *each]
    unsure = [answered.unsure] if classifier.decision.leaves_unsure else []
    return [answered.labels, *unsure, pa.array(answered.probability, from_pandas=True), *each]


class AnsweredTable(NamedTuple):
    """A table after its answers are written: its rows, those without a text, those left unsure, and all its columns."""

    rows: int
    blank: int
    unsure: int
    schema: pa.Schema


def chosen_columns(classifier: Classifier, named: list[str] | None) -> list[str]:
    """Columns to read: those named on the command line, or those of the training data. Raises UserError for another number."""
    default = classifier.columns or ["text"]
    columns = [normal_name(name) or name for name in named or default]
    if len(columns) != len(default):
        reads = "one column of texts" if len(default) == 1 else f"{len(default)} columns ({', '.join(default)})"
        raise UserError(
            f"the model reads {reads}, found --text-column {', '.join(columns)}; give the option once for each column"
        )
    if len(set(columns)) < len(columns):
        raise UserError(f"--text-column must name each column once, found {', '.join(columns)}")
    return columns


def surveyed(path: Path, columns: list[str], classifier: Classifier, prefix: str) -> tuple[Survey, pa.Schema]:
    """Rows and columns of a table, and its columns with the new ones; raises UserError for a mistake anywhere in it."""
    try:
        found = survey(path, columns)
    except MissingColumn as error:
        # A table with another separator has a single column, so there is nothing to choose.
        hinted = str(error).endswith(tuple(SEPARATOR_HINTS.values()))
        which = (
            "column to read"
            if len(columns) == 1
            else f"{len(columns)} columns to read, in the order {', '.join(columns)},"
        )
        raise UserError(str(error) if hinted else f"{error}; choose the {which} with --text-column") from None
    new = answer_columns(classifier, prefix)
    # Readers compare names in their normal form, so a new column must not look like an old one either.
    old = {normal_name(name) for name in found.schema.names}
    if taken := [field.name for field in new if normal_name(field.name) in old]:
        raise UserError(
            f"{path} already has a column {taken[0]!r}; rename the new ones, for example with --prefix predicted_"
        )
    return found, pa.schema([*found.schema, *new], metadata=found.schema.metadata)


def answer_table(
    classifier: Classifier,
    path: Path,
    output: Path | None,
    columns: list[str] | None,
    prefix: str,
    step: Callable[[int], None] | None = None,
) -> AnsweredTable:
    """Writes the table with its answers, to stdout if `output` is None. Raises UserError before it writes anything.

    `columns` hold the texts; None means those of the training data. `step` gets the number of rows after each batch;
    without it a progress bar does.
    """
    columns = chosen_columns(classifier, columns)
    (rows, schema), whole = surveyed(path, columns, classifier, prefix)
    blank = unsure = 0
    writer = json_writer(sys.stdout.buffer, whole) if output is None else table_writer(output, whole)
    with writer as write, tqdm(desc="predict", total=rows, unit=" rows", disable=True if step else None) as bar:
        for texts, table in read_columns(path, columns, schema, CHUNK):
            answered = answers(classifier, texts)
            write(pa.Table.from_arrays([*table.columns, *answer_values(classifier, answered)], schema=whole))
            blank += answered.unsure.count(None)
            unsure += answered.unsure.count(True)
            (step or bar.update)(len(texts))
    return AnsweredTable(rows, blank, unsure, whole)


def report_unlabelled(where: Path | str, found: AnsweredTable):
    """Says on stderr how many rows have no text, and how many the model's decision leaves unsure."""
    for count, reason in ((found.blank, "have no text and therefore"), (found.unsure, "are unsure and therefore have")):
        if count:
            say(f"{where}: {count} of {found.rows} rows {reason} no label", sys.stderr)
