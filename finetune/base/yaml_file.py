"""YAML files, read as DVC reads them."""

from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from finetune.base.errors import UserError, one_line

LONGEST = 1_000_000  # characters; the parser takes five seconds for so many


def parse_yaml(path: Path):
    """Content of a YAML file. Raises UserError if it is missing, too long or not YAML."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
        return parse_yaml_text(text, str(path))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run this from the project's root") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid YAML: {one_line(error)}") from None


def parse_yaml_text(text: str, source: str):
    """Content of a YAML 1.2 text: `3e-05` is a number, `yes` a string.

    Raises UserError, naming the source, if it is too long or not YAML.
    """
    if len(text) > LONGEST:
        raise UserError(f"{source} has more than {LONGEST:,} characters; expected settings, which have a few thousand")
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise UserError(f"{source} is not valid YAML: {explained(error)}") from None
    except (
        ValueError,
        LookupError,
    ) as error:  # from a value that does not fit its tag, or an integer of thousands of digits
        raise UserError(f"{source} has a value that cannot be read: {one_line(error)}") from None
    except RecursionError:
        raise UserError(f"{source} nests lists or mappings too deep to read; expected a few levels") from None


def explained(error: YAMLError) -> str:
    """Problem and position, without ruamel's advice for programmers."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return one_line(error)
    parts = " ".join(f"{error.context or ''} {error.problem}".split())
    return f"{parts} in line {mark.line + 1}, column {mark.column + 1}"
