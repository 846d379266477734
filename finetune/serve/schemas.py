"""Types of requests and responses; the OpenAPI document is generated from them."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, create_model, model_validator

from finetune.base.fields import Text, is_blank
from finetune.base.names import normal_name, nothing_to_see
from finetune.base.param_types import SHORT
from finetune.scoring.decisions import UNSURE, shown_class

EXPECTED = 'expected a JSON object with either "text" or "texts", sent as Content-Type: application/json'
LISTED = 10  # labels in a message about an unknown one; a model may have a thousand
# A character that is neither a blank nor a control. For the OpenAPI document; `readable` checks more, and gives a reason.
READABLE = r"[^\s\x00-\x1f\x7f-\x9f]"


def readable(text: str) -> str:
    """The text itself; raises ValueError if nothing of it can be seen. As in the pipeline, it may hold a NUL, which is left to the tokenizer."""
    if nothing_to_see(text):
        raise ValueError("is empty; expected a text with at least one word")
    return text


class Body(BaseModel):
    """A request body; only the first unknown name is reported."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def first_unknown(cls, body):
        """The body with one unknown name at most: pydantic makes an error of each, and a body has room for 90,000."""
        if not isinstance(body, dict):
            return body
        known = {field.alias or name for name, field in cls.model_fields.items()}
        first = next((name for name in body if name not in known), None)
        return {name: value for name, value in body.items() if name == first or name in known}


class Requests(NamedTuple):
    """Body types of `/explain` (`one`) and `/predict` (`one_or_many`)."""

    one: type
    one_or_many: object


def text_with_fields(columns: list[str], max_characters: int) -> type[Body]:
    """Type of a text of several columns: an object with a key for each, text or null, and at least one word in all."""

    class Fields(Body):
        @model_validator(mode="before")
        @classmethod
        def is_object(cls, body):
            if not isinstance(body, dict):
                raise ValueError(f"must be an object with the keys {', '.join(columns)}, found a {type(body).__name__}")
            return body

        @model_validator(mode="after")
        def within(self):
            texts = text_of(self)
            if is_blank(texts):
                raise ValueError("is empty; expected at least one word in one of its fields")
            count = sum(len(text or "") for text in texts)
            if count > max_characters:
                raise ValueError(f"has {count} characters in all; expected at most {max_characters}")
            return self

    # Names of columns need not be names in Python.
    fields = {f"field_{number}": (str | None, Field(alias=name)) for number, name in enumerate(columns)}
    return create_model("Fields", __base__=Fields, **fields)


def text_of(text: str | Body) -> Text:
    """A text of a body as the classifier takes it: a string, or its fields in the order of the columns."""
    return text if isinstance(text, str) else tuple(getattr(text, name) for name in type(text).model_fields)


def requests(
    max_texts: int, max_characters: int, columns: list[str] | None = None, labels: list[str] | None = None
) -> Requests:
    """Body types with these limits; a text is a string, or an object with these columns.

    With `labels`, a request to explain may name one of them.
    """
    text_within = (
        text_with_fields(columns, max_characters)
        if columns
        else Annotated[
            str,
            Field(max_length=max_characters, json_schema_extra={"minLength": 1, "pattern": READABLE}),
            AfterValidator(readable),
        ]
    )

    examples = ["A joy to watch.", "A waste of time."]
    if columns:
        examples = [dict.fromkeys(columns, text) for text in examples]

    class OneText(Body):
        model_config = ConfigDict(json_schema_extra={"examples": [{"text": examples[0]}]})
        text: text_within

    def known(label: str) -> str:
        name = normal_name(label)
        if name not in labels:
            more = f" and {len(labels) - LISTED:,} more" if len(labels) > LISTED else ""
            raise ValueError(f"must be one of {', '.join(labels[:LISTED])}{more}, found {SHORT.repr(label)}")
        return name

    class OneTextOneLabel(OneText):
        label: Annotated[str, Field(json_schema_extra={"enum": labels}), AfterValidator(known)] | None = None

    class ManyTexts(Body):
        model_config = ConfigDict(json_schema_extra={"examples": [{"texts": examples}]})
        texts: Annotated[list[text_within], Field(min_length=1, max_length=max_texts)]

    def kind(body) -> str | None:
        """Name of the one key, "text" or "texts", that a body has; None if it has both or neither."""
        keys = {"text", "texts"}.intersection(body) if isinstance(body, dict) else ()
        return next(iter(keys)) if len(keys) == 1 else None

    both = Annotated[
        Annotated[OneText, Tag("text")] | Annotated[ManyTexts, Tag("texts")],
        Discriminator(kind, custom_error_type="text_or_texts", custom_error_message=EXPECTED),
    ]
    return Requests(OneTextOneLabel if labels else OneText, both)


class Prediction(BaseModel):
    """Class of a text. Probabilities are calibrated; `truncated` is true if the text was cut to the model's length.

    Where the model's decision leaves a text `unsure`, the label is null and `probability` is that of the most probable class.
    """

    label: str | None
    unsure: bool
    probability: float
    probabilities: dict[str, float]
    truncated: bool


class Predictions(BaseModel):
    """A prediction for each text, in the order of the texts."""

    predictions: list[Prediction]


class SetPrediction(BaseModel):
    """Labels of a text: those that reach their thresholds, in the order of the labels; there may be none.

    Probabilities are calibrated; `truncated` is true if the text was cut to the model's length.
    """

    labels: list[str]
    probabilities: dict[str, float]
    truncated: bool


class SetPredictions(BaseModel):
    """A prediction for each text, in the order of the texts."""

    predictions: list[SetPrediction]


class Part(BaseModel):
    """A part of a text. `push` is how far it moves the probability that goes with the answer, negative if it lowers it.

    It is null between words and for words that the model did not see.
    """

    text: str
    push: float | None


class Explanation(Prediction):
    """A prediction, and the text in parts that join to the whole."""

    parts: list[Part]


class SetExplanation(SetPrediction):
    """A prediction, the threshold of each label, and the text in parts that join to the whole.

    The pushes are on the probability of the label `explained`.
    """

    explained: str
    thresholds: dict[str, float]
    parts: list[Part]


class DriftOfFeature(BaseModel):
    """Jensen-Shannon distance from the reference, and the limit above which the feature has drifted."""

    distance: float
    limit: float
    drifted: bool


class Drift(BaseModel):
    """Recent texts compared with those the model was validated on; `verdict` is none, drift or too few texts."""

    verdict: str
    texts: int
    window: int
    features: dict[str, DriftOfFeature]


class Health(BaseModel):
    """The model and its labels; `drift` is null if the export stored no reference profile."""

    status: str
    model: str
    labels: list[str]
    drift: Drift | None


class Problem(BaseModel):
    """Reason why a request was not answered."""

    detail: str


def problem_line(error: dict) -> str:
    """One line for one of pydantic's errors, without the input, which may not be valid JSON.

    >>> problem_line({"loc": ("body", "texts", "texts", 3), "type": "string_type", "msg": "Input should be a string"})
    'texts.3: Input should be a string'
    """
    path = list(error["loc"][1:])
    if path[:1] in (["text"], ["texts"]) and len(path) > 1 and isinstance(path[1], str):
        path = path[1:]  # the first element only says which of the two bodies it is
    if not path:
        return EXPECTED if error["type"] == "missing" else error["msg"]
    return f"{'.'.join(map(str, path))}: {error['msg'].removeprefix('Value error, ')}"


def predictions(
    labels: Sequence[str], readings: Sequence, probabilities, answered: Sequence[Sequence[int]]
) -> list[Prediction]:
    """Predictions from readings, probabilities of shape [texts, classes] and the id of each text's label, or none."""
    results = []
    rows = probabilities.tolist()
    for reading, row, ids, numbers in zip(readings, rows, answered, probabilities, strict=True):
        answer = ids[0] if ids else UNSURE
        # Built without validation: these are our own numbers, and there may be many per second.
        results.append(
            Prediction.model_construct(
                label=None if answer == UNSURE else labels[answer],
                unsure=answer == UNSURE,
                probability=row[shown_class(answer, numbers)],
                probabilities=dict(zip(labels, row, strict=True)),
                truncated=reading.truncated,
            )
        )
    return results


def set_predictions(
    labels: Sequence[str], readings: Sequence, probabilities, answered: Sequence[Sequence[int]]
) -> list[SetPrediction]:
    """Predictions from readings, probabilities of shape [texts, labels] and the ids of each text's labels."""
    return [
        SetPrediction.model_construct(
            labels=[labels[id] for id in ids],
            probabilities=dict(zip(labels, row, strict=True)),
            truncated=reading.truncated,
        )
        for reading, row, ids in zip(readings, probabilities.tolist(), answered, strict=True)
    ]
