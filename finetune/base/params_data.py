"""Sections of `params.yaml` about the rows and the encoder: data, model, split and tokenize."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from finetune.base.param_types import SHORT, Label, Rows, Seed, Sha256, Share, Uri, several, text_keys


class Section(BaseModel):
    """One section: no unknown key, no silent conversion of types, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


# A union of its own for lists, so that a message is about the one or the other.
Columns = Annotated[
    Annotated[Label, Tag("one")] | Annotated[list[Label], AfterValidator(several), Tag("several")],
    Discriminator(lambda value: "several" if isinstance(value, list) else "one"),
]


def visible_separator(separator: str) -> str:
    """The separator itself; raises ValueError for an empty one, which would separate nothing."""
    if not separator:
        raise ValueError('must have at least one character, such as ";", found an empty text')
    return separator


class Data(Section):
    uri: Uri
    sha256: Sha256
    text: Columns
    label: Label | Annotated[list[Label], Field(min_length=2)]
    labels: Annotated[dict[str, Label], Field(min_length=2), BeforeValidator(text_keys)] | None
    group: Label | None
    task: Literal["single_label", "multi_label"] = "single_label"
    separator: Annotated[str, AfterValidator(visible_separator)] | None = None

    @property
    def label_columns(self) -> list[str]:
        """Columns that hold the labels: one, or a column of 0 and 1 for each label."""
        return [self.label] if isinstance(self.label, str) else self.label

    @property
    def list_column(self) -> str | None:
        """The column whose cells may be lists; None for one label per text, and where other forms hold the labels."""
        lists = self.task == "multi_label" and self.separator is None and isinstance(self.label, str)
        return self.label if lists else None

    @model_validator(mode="after")
    def label_has_the_form_of_the_task(self):
        columns = not isinstance(self.label, str)
        if self.task == "single_label" and (columns or self.separator is not None):
            given = "several columns as its label" if columns else "a separator"
            raise ValueError(f"must have task: multi_label for {given}, found task: single_label")
        if columns and self.separator is not None:
            raise ValueError("must have separator: null where its label names several columns of 0 and 1")
        if len(set(self.label_columns)) < len(self.label_columns):
            raise ValueError(f"must name each column of its label once, found {SHORT.repr(self.label)}")
        return self

    @model_validator(mode="after")
    def columns_differ(self):
        for column in self.label_columns:
            for key, value, others in (("label", column, self.columns), ("group", self.group, [column])):
                if value in others:
                    taken = "the texts" if key == "label" else "the labels"
                    raise ValueError(
                        f"must name another column as its {key}, found {SHORT.repr(value)} for {taken} too"
                    )
        return self

    @property
    def columns(self) -> list[str]:
        """Names of the columns of the texts."""
        return [self.text] if isinstance(self.text, str) else self.text


class Model(Section):
    uri: Uri
    sha256: Sha256


class Split(Section):
    validation: Share
    test: Share
    train_rows: Rows
    test_rows: Rows
    held_out_rows: Rows
    folds: Annotated[int, Field(ge=2, le=100)] | None
    fold: Annotated[int, Field(ge=0)] | None
    seed: Seed

    @model_validator(mode="after")
    def leaves_rows_to_train_on(self):
        if self.validation + self.test >= 1:
            raise ValueError(
                f"must leave rows to train on: validation {self.validation} and test {self.test} add up to 1 or more"
            )
        return self

    @model_validator(mode="after")
    def tests_on_one_fold(self):
        if (self.folds is None) != (self.fold is None):
            given, absent = ("folds", "fold") if self.fold is None else ("fold", "folds")
            raise ValueError(
                f"must set both folds and fold, or neither: {given} is {getattr(self, given)}, {absent} is null "
                "(`make folds FOLDS=5` runs every fold)"
            )
        if self.folds is None:
            return self
        if self.fold >= self.folds:
            raise ValueError(f"must name one of {self.folds} folds, 0 to {self.folds - 1}, found fold {self.fold}")
        if self.test_rows is not None:
            raise ValueError(f"must have test_rows null with folds, which test every row, found {self.test_rows}")
        if self.validation + 1 / self.folds >= 1:
            raise ValueError(
                f"must leave rows to train on: validation {self.validation} and one of {self.folds} folds add up to 1 or more"
            )
        return self

    def recorded(self) -> dict:
        """The settings as a file records them, without those of folds where there are none."""
        return self.model_dump(exclude=None if self.folds else {"folds", "fold"})


class Tokenize(Section):
    max_length: Annotated[int, Field(ge=3)]  # [CLS], one token, [SEP]
    truncation: Literal["head", "head_tail", "windows"]
    stride: Annotated[int, Field(ge=0)] | None = None  # a file without it is valid; recorded for windows only

    @model_validator(mode="after")
    def strides_windows(self):
        if self.stride is not None and self.truncation != "windows":
            raise ValueError(f"must have stride null unless truncation is windows, found {self.stride}")
        if self.stride is not None and self.stride >= self.max_length:
            raise ValueError(f"must have a stride below its max_length, found {self.stride} and {self.max_length}")
        return self

    @property
    def overlap(self) -> int | None:
        """Tokens that a window shares with the one before; None without windows."""
        if self.truncation != "windows":
            return None
        return self.max_length // 4 if self.stride is None else self.stride

    def recorded(self) -> dict:
        """The settings as a file records them: of windows with the stride that null stands for, else without one."""
        if self.truncation != "windows":
            return self.model_dump(exclude={"stride"})
        return self.model_dump() | {"stride": self.overlap}
