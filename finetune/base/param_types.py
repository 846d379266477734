"""Types of the values in `params.yaml`: what each allows, and how a message shows a wrong one."""

import reprlib
from typing import Annotated

from pydantic import AfterValidator, Field

from finetune.base.addresses import CHAIN, brings_secret
from finetune.base.names import normal_name


class ShortRepr(reprlib.Repr):
    """`reprlib.Repr` that also takes integers of more digits than Python writes."""

    def repr_int(self, number: int, level: int) -> str:
        return "an integer of many digits" if number.bit_length() > LONGEST_INTEGER else super().repr_int(number, level)


# Values in messages: anchors and aliases can make a small file stand for gigabytes of text.
LONGEST_INTEGER = 1_000  # bits
MOST_COLUMNS = 20  # of texts
SHORT = ShortRepr()
SHORT.maxlevel, SHORT.maxlist, SHORT.maxdict, SHORT.maxstring, SHORT.maxother = 2, 6, 6, 200, 200


def value_text(value) -> str:
    """A raw label as a data file spells it: `1` -> "1", `true` -> "true"."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def text_keys(labels):
    """Labels with every key as text in its normal form, as in tables: {0: negative} -> {"0": negative}."""
    if not isinstance(labels, dict):
        return labels
    keys = [normal_name(value_text(key)) for key in labels]
    if None in keys or len(set(keys)) < len(keys):
        raise ValueError(
            f"must have keys that differ in more than blanks and invisible characters, found {SHORT.repr(list(labels))}"
        )
    return dict(zip(keys, labels.values(), strict=True))


def visible(name: str) -> str:
    """A name in its normal form; raises ValueError if it has no visible character, or one that UTF-8 lacks."""
    normal = normal_name(name)
    if normal is None:
        raise ValueError(f"must have visible characters, found {SHORT.repr(name)}")
    if any("\ud800" <= letter <= "\udfff" for letter in normal):
        raise ValueError(f"must be whole characters, found half of one in {SHORT.repr(name)}")
    return normal


def without_credentials(uri: str) -> str:
    """The address itself; raises ValueError if it brings a password, a token or a signature.

    The address is written to dvc.lock, to the model card and to the report, so it must hold no secret.
    """
    if any(brings_secret(part.strip()) for part in CHAIN.split(uri)):
        raise ValueError(
            "must not hold a password, token or signature, because it is written to dvc.lock and the model card; put them into "
            "the environment (AWS_SECRET_ACCESS_KEY, HF_TOKEN, …), or into fsspec's configuration, ~/.config/fsspec/conf.json"
        )
    return uri


def several(columns: list[str]) -> list[str]:
    """Names of the columns of the texts; raises ValueError for fewer than two, for too many and for one that comes twice."""
    if len(columns) < 2:
        raise ValueError(
            f"must be the name of a column, or a list of at least two names, found {SHORT.repr(columns)}; "
            "write one column without a list"
        )
    if len(columns) > MOST_COLUMNS:
        raise ValueError(f"must list at most {MOST_COLUMNS} columns, found {len(columns)}")
    if twice := next((name for name in columns if columns.count(name) > 1), None):
        raise ValueError(f"must name each column once, found {SHORT.repr(twice)} {columns.count(twice)} times")
    return columns


Uri = Annotated[str, Field(min_length=1), AfterValidator(without_credentials)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
Name = Annotated[str, Field(min_length=1)]
Label = Annotated[str, AfterValidator(visible)]  # a column or a label, in the form that tables give it
Rows = Annotated[int, Field(ge=1)] | None
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(gt=0, lt=1)]
