"""Files as every stage writes them: the same values give the same bytes, and a file is replaced whole or not at all."""

import contextlib
import csv
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TextIO

from finetune.base.errors import FULL, UserError

PIECE = 1_000_000  # characters
LONGEST = 100_000_000  # characters of a JSON file; tokenizers of large vocabularies have a third of it
DIGITS = 6  # of metrics: finer than any interval, coarser than the noise of the last bits
EXPERIMENTS = "/.dvc/tmp/exps/"  # where DVC keeps its copies of the project


def rounded(value):
    """Plain Python value with every float rounded, also inside lists and dictionaries; numpy scalars become Python's."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return round(value, DIGITS) if isinstance(value, float) else value


def stays_inside(name) -> bool:
    """Whether a name from a file or an address is a relative path that leads no further up than its folder."""
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name:
        return False
    if any("\ud800" <= letter <= "\udfff" for letter in name):  # half a character, which no file name has
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.parts != ()


def file_kind(path: Path) -> str:
    """What lies at a path, in words: "a file", "a folder", "a pipe", "a device", "a socket", "a broken link" or "missing"."""
    if not path.exists():
        return "a broken link" if path.is_symlink() else "missing"
    kinds = {"a file": path.is_file, "a folder": path.is_dir, "a pipe": path.is_fifo, "a socket": path.is_socket}
    return next((words for words, test in kinds.items() if test()), "a device")


def plain_file(path: str | Path) -> Path:
    """The path itself. Raises UserError if something else than a file lies there: reading a pipe would wait, perhaps forever."""
    kind = file_kind(Path(path))
    if kind not in ("a file", "a broken link", "missing"):
        raise UserError(f"{path} is {kind}, expected a file; move it away")
    return Path(path)


def read_text(path: str | Path, longest: int) -> str:
    """Text of a file in UTF-8; raises UserError for one of more than `longest` characters before the rest is read."""
    pieces, length = [], 0
    with plain_file(path).open(encoding="utf-8") as file:
        # `file.read(longest)` would set aside memory for the longest file, whatever this one holds.
        while piece := file.read(PIECE):
            pieces.append(piece)
            length += len(piece)
            if length > longest:
                raise UserError(
                    f"{path} has more than {longest:,} characters, so it is not what belongs there; get it again"
                )
    return "".join(pieces)


def read_json(path: str | Path):
    """Content of a JSON file; raises UserError for one that is too long, ValueError for one that is not JSON."""
    return parse_json(read_text(path, LONGEST))


def parse_json(text: str):
    """Content of a JSON text; raises ValueError if it is not JSON or nests too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests lists or objects too deeply") from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Path to write to in the block. The file appears under its own name once the block succeeds; until then an earlier one stays.

    Two processes that write the same file use separate partial files. An error of the system names the file itself.
    """
    target = path.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        if target.is_file():
            shutil.copymode(target, part)
        try:
            os.replace(part, target)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            shutil.copyfile(part, target)  # a mounted file, as a container gets it, cannot be replaced
    except OSError as error:
        if error.filename == str(part) or (error.filename is None and error.errno in FULL):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def replace_text(path: Path, text: str):
    """Writes a text whole or not at all, in UTF-8; to a pipe or a device as it comes."""
    if file_kind(path) in ("a file", "missing"):
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")
    else:
        path.write_text(text, encoding="utf-8")


def md5(path: Path) -> str:
    """MD5 of a file in hexadecimal digits, by which DVC names its copy of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def write_json(path: Path, value):
    """Value as indented JSON, floats rounded, keys in the order given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(value), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_csv(path: Path, header: list[str], rows: Iterable):
    """Rows under a header as CSV, floats rounded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv_writer(file)
        writer.writerow(header)
        writer.writerows(rounded(list(row)) for row in rows)


class LineFeeds:
    """Text file that shortens the line ending of its writer, a carriage return and a line feed, to a line feed."""

    def __init__(self, file: TextIO):
        self.file = file

    def write(self, line: str):
        self.file.write(line.removesuffix("\r\n") + "\n")


class TableWriter:
    """`csv.writer` that puts every field of a row in quotes if one of them holds a line break.

    Such a row cannot be taken for rows that a raw double quote has swallowed (`finetune.sources.swallowed_rows`).
    """

    def __init__(self, file: TextIO, delimiter: str):
        lines = LineFeeds(file)
        self.plain = csv.writer(lines, delimiter=delimiter, lineterminator="\r\n")
        self.quoted = csv.writer(lines, delimiter=delimiter, lineterminator="\r\n", quoting=csv.QUOTE_ALL)

    def writerow(self, row: Iterable):
        row = list(row)
        broken = any(isinstance(value, str) and ("\n" in value or "\r" in value) for value in row)
        (self.quoted if broken else self.plain).writerow(row)

    def writerows(self, rows: Iterable[Iterable]):
        for row in rows:
            self.writerow(row)


def csv_writer(file: TextIO, delimiter: str = ",") -> TableWriter:
    """A `csv.writer` whose lines end in a line feed and whose fields read back unchanged, whatever they contain.

    Python quotes line breaks in a field only if they are part of its line ending. With a line feed as the ending, a bare
    carriage return would stay unquoted, and every reader would take it for the end of the row.
    """
    return TableWriter(file, delimiter)


def original_project() -> Path | None:
    """Folder of the project that the current folder is DVC's copy of, for an experiment; None outside such a copy.

    https://dvc.org/doc/command-reference/exp/run: --queue and --temp copy only what Git tracks. DVC deletes the copy afterwards.
    """
    project, separator, _ = Path.cwd().as_posix().partition(EXPERIMENTS)
    return Path(project) if separator else None
