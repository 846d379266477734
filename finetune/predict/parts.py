"""The parts of a folder of tables, and the record in the output folder that says from what each of them was made."""

import json
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from finetune.base.errors import UserError
from finetune.base.files import parse_json
from finetune.predict.storage import Folder, LocalFolder, Stored
from finetune.sources.compressed import COMPRESSIONS
from finetune.sources.tables import READERS, table_format

RECORD = "_predict.json"  # readers of Parquet folders (Spark, pyarrow, DuckDB's globs) leave out such names
LOCK = ".predict.lock"
FORMATS = {".csv": "CSV", ".tsv": "TSV", ".tab": "TSV", ".parquet": "Parquet"}  # the others are JSON Lines
WORDS = {"model": "another model", "options": "other options", "libraries": "other versions of libraries"}
NAMED = 5  # files that a message names


class Part(NamedTuple):
    """A table of the input folder, and its name in the output folder."""

    name: str
    size: int
    version: str
    output: str

    def __str__(self) -> str:
        return self.name


def named(names: list[str]) -> str:
    """The first names of a list, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def is_hidden(name: str) -> bool:
    """Whether readers of folders leave a file out: `_SUCCESS`, `.part-0.crc`."""
    return any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)


def output_name(name: str) -> str:
    """Name of a part in the output: `2026/reviews.csv.gz` -> `2026/reviews.parquet`."""
    path = PurePosixPath(name)
    while path.suffix.lower() in COMPRESSIONS:
        path = path.with_suffix("")
    return path.with_suffix(".parquet").as_posix()


def input_parts(folder: Folder) -> list[Part]:
    """The tables of a folder and of those inside it, by name.

    Raises UserError if there is none, if another file lies there, for tables of several formats, and for two that would
    have one name in the output.
    """
    files = {name: found for name, found in folder.files().items() if not is_hidden(name)}
    expected = f"expected tables of one format, {', '.join(READERS)}, also compressed"
    if not files:
        raise UserError(f"{folder} holds no file, or does not exist; {expected}")
    if others := [name for name in files if table_format(Path(name)) not in READERS]:
        raise UserError(f"{folder} holds {named(others)}; {expected}: move away what is none")
    formats: dict[str, str] = {}
    for name in files:
        formats.setdefault(FORMATS.get(table_format(Path(name)), "JSON Lines"), name)
    if len(formats) > 1:
        found = " and ".join(f"{kind} ({name})" for kind, name in formats.items())
        raise UserError(f"{folder} holds {found}, whose columns have different types; give each format a folder")
    outputs: dict[str, str] = {}
    for name in files:
        first = outputs.setdefault(output_name(name), name)
        if first != name:
            raise UserError(f"{folder}: {first} and {name} would both become {output_name(name)}; rename one of them")
    return [Part(name, *files[name], output) for output, name in outputs.items()]


def record(parts: list[Part], input: Folder, facts: dict) -> bytes:
    """Content of RECORD: `facts` about model and options, and each part with what it is made from."""
    entries = {part.output: {"input": part.name, "size": part.size, "version": part.version} for part in parts}
    content = {"made_by": "python -m finetune.predict", **facts, "input": str(input), "parts": entries}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def read_record(output: Folder, files: dict[str, Stored]) -> dict | None:
    """The record of an output folder, None without one. Raises UserError if it is not one of ours."""
    if RECORD not in files:
        return None
    try:
        found = parse_json(output.read(RECORD).decode())
        if found["made_by"] == "python -m finetune.predict" and isinstance(found["parts"], dict):
            return found
    except (ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{output}/{RECORD} is damaged or was written by another program; choose another output folder")


def missing_parts(parts: list[Part], output: Folder, facts: dict) -> list[Part]:
    """The parts that are to be made. Raises UserError if the output folder is not ours, or was made from something else."""
    files = output.files()
    before = read_record(output, files)
    known = {RECORD, LOCK, *(part.output for part in parts), *((before or {}).get("parts", {}))}
    there = [name for name in files if name not in known and not is_unfinished(name, known)]
    if before is None:
        there += [part.output for part in parts if part.output in files]
    if there:
        raise UserError(f"{output} already holds {named(there)}, not written by this command; choose an empty folder")
    if before is None:
        return parts
    made = {name: entry for name, entry in before["parts"].items() if name in files}
    if made:
        check_facts(before, facts, output)
    by_output = {part.output: part for part in parts}
    for name, entry in made.items():
        part = by_output.get(name)
        if part is None or entry != {"input": part.name, "size": part.size, "version": part.version}:
            what = "is gone" if part is None else "has changed"
            raise UserError(
                f"{entry.get('input')} {what} since {output}/{name} was made from it; delete that part, or choose another output folder"
            )
    return [part for part in parts if part.output not in files]


def check_facts(before: dict, facts: dict, output: Folder):
    """Raises UserError if model, options or libraries are not those of the record."""
    for key, value in facts.items():
        if before.get(key) != value:
            raise UserError(
                f"{output} holds parts made with {WORDS[key]} ({shown(before.get(key))}, now {shown(value)}); choose another "
                "output folder, or delete this one"
            )


def shown(value) -> str:
    """A fact of the record, short enough for a line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}…"


def is_unfinished(name: str, outputs: set[str]) -> bool:
    """Whether a file is what a killed process left of an output: `2026/.reviews.parquet.4711.part`."""
    path = PurePosixPath(name)
    match = re.fullmatch(r"\.(.+)\.\d+\.part", path.name)
    return match is not None and path.with_name(match[1]).as_posix() in outputs


def remove_unfinished(output: Folder, parts: list[Part]):
    """Removes what killed processes left in a folder on a disk; stores keep nothing unfinished."""
    if isinstance(output, LocalFolder):
        outputs = {RECORD, *(part.output for part in parts)}
        for name in output.files():
            if is_unfinished(name, outputs):
                output.remove(name)
