"""How much of a table is read at once, so that a damaged or hostile file is refused before it fills the memory."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TextIO, TypeVar

from finetune.base.errors import UserError

BATCH = 10_000  # rows; large enough that overhead is negligible, small enough to stay far below 100 MB
BATCH_CHARACTERS = 20_000_000  # a batch of long texts has fewer rows
# Characters of one row, that is of a line of JSON Lines or a record of CSV, and of one text in Parquet: ten long novels.
LONGEST_ROW = 10_000_000
MOST_COLUMNS = (
    10_000  # wider tables are matrices of numbers; every column costs memory, in CSV up to 1,000 of its values
)
Part = TypeVar("Part")


def bounded_lines(file: TextIO) -> Iterator[str]:
    """Lines of a text file; of a line of more than LONGEST_ROW characters the first LONGEST_ROW + 1, and then its rest."""
    return iter(partial(file.readline, LONGEST_ROW + 1), "")


def batches(parts: Iterable[Part], characters: Callable[[Part], int], rows: int = 1) -> Iterator[list[Part]]:
    """Lists of parts, of `rows` rows each, with BATCH rows, or with fewer and about BATCH_CHARACTERS characters.

    `characters` counts those of a part.
    """
    batch, held = [], 0
    for part in parts:
        batch.append(part)
        held += characters(part)
        if len(batch) == BATCH // rows or held >= BATCH_CHARACTERS:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def check_column_count(where: Path | str, columns: int):
    """Raises UserError for a table with more than MOST_COLUMNS columns."""
    if columns > MOST_COLUMNS:
        raise UserError(f"{where} has {columns:,} columns, expected at most {MOST_COLUMNS:,}; keep those that you need")


# s3fs tries five times and waits 15 seconds each; its client would try five times in each of them. Two are enough for an answer
# that s3fs does not repeat, such as the status 500, and a silent server is waited for 150 seconds, not 400.
S3_OPTIONS = {"config_kwargs": {"retries": {"total_max_attempts": 2}}}
