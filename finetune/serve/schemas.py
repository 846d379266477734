"""What the server takes and gives, as types; the OpenAPI document is made of them."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

EXPECTED = 'expected a JSON object with either "text" or "texts", sent as Content-Type: application/json'
# Said in the document, checked by `readable` with a reason: some character that is no white space, and no NUL.
READABLE = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"


def readable(text: str) -> str:
    """The text itself; raises ValueError when it holds nothing to read."""
    if "\0" in text:
        raise ValueError("holds a NUL character; decode the text before it is sent")
    if not text.strip():
        raise ValueError("is empty; expected a text with at least one word")
    return text


class Body(BaseModel):
    """A request's body; of the names that it should not have only the first is told."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def first_unknown(cls, body):
        """The body without further ones: pydantic makes an error of each, and a body has room for 90,000."""
        if not isinstance(body, dict):
            return body
        first = next((name for name in body if name not in cls.model_fields), None)
        return {name: value for name, value in body.items() if name == first or name in cls.model_fields}


class Requests(NamedTuple):
    """The bodies that `/explain` and `/predict` take."""

    one: type
    one_or_many: object


def requests(max_texts: int, max_characters: int) -> Requests:
    """Types of the bodies within these limits."""
    text_within = Annotated[
        str,
        Field(max_length=max_characters, json_schema_extra={"minLength": 1, "pattern": READABLE}),
        AfterValidator(readable),
    ]

    class OneText(Body):
        model_config = ConfigDict(json_schema_extra={"examples": [{"text": "A joy to watch."}]})
        text: text_within

    class ManyTexts(Body):
        model_config = ConfigDict(json_schema_extra={"examples": [{"texts": ["A joy to watch.", "A waste of time."]}]})
        texts: Annotated[list[text_within], Field(min_length=1, max_length=max_texts)]

    def kind(body) -> str | None:
        """Which of the two a body is meant to be."""
        names = {"text", "texts"}.intersection(body) if isinstance(body, dict) else ()
        return next(iter(names)) if len(names) == 1 else None

    both = Annotated[
        Annotated[OneText, Tag("text")] | Annotated[ManyTexts, Tag("texts")],
        Discriminator(kind, custom_error_type="text_or_texts", custom_error_message=EXPECTED),
    ]
    return Requests(OneText, both)


class Prediction(BaseModel):
    """A text's class. Probabilities are calibrated; `truncated` says that the model did not see all of the text."""

    label: str
    probability: float
    probabilities: dict[str, float]
    truncated: bool


class Predictions(BaseModel):
    """A prediction for each text, in the order of the texts."""

    predictions: list[Prediction]


class Part(BaseModel):
    """A part of a text. `push` is how far it moves the probability of the predicted class, negative if away from it.

    It is null for what lies between words and for what the model did not see.
    """

    text: str
    push: float | None


class Explanation(Prediction):
    """A prediction, and the text in parts that make it up again."""

    parts: list[Part]


class DriftOfFeature(BaseModel):
    """Jensen-Shannon distance from the reference, and the limit above which it is called drift."""

    distance: float
    limit: float
    drifted: bool


class Drift(BaseModel):
    """The last texts beside those the model was validated on; `verdict` is none, drift or too few texts."""

    verdict: str
    texts: int
    window: int
    features: dict[str, DriftOfFeature]


class Health(BaseModel):
    """That the server answers, what it serves; `drift` is null where the export stored no reference profile."""

    status: str
    model: str
    labels: list[str]
    drift: Drift | None


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str


def problem_line(error: dict) -> str:
    """One line about one of pydantic's errors, without the input: that may hold what JSON cannot say.

    >>> problem_line({"loc": ("body", "texts", "texts", 3), "type": "string_type", "msg": "Input should be a string"})
    'texts.3: Input should be a string'
    """
    place = list(error["loc"][1:])
    if place[:1] in (["text"], ["texts"]) and len(place) > 1 and isinstance(place[1], str):
        place = place[1:]  # the first was only which of the two bodies it is
    if not place:
        return EXPECTED if error["type"] == "missing" else error["msg"]
    return f"{'.'.join(map(str, place))}: {error['msg'].removeprefix('Value error, ')}"


def predictions(labels: Sequence[str], readings: Sequence, probabilities) -> list[Prediction]:
    """Predictions from readings and probabilities of shape [texts, classes]."""
    found = []
    for reading, shares in zip(readings, probabilities.tolist(), strict=True):
        best = max(range(len(shares)), key=shares.__getitem__)
        # Built without checks: these are our own numbers, and there may be many a second.
        found.append(
            Prediction.model_construct(
                label=labels[best],
                probability=shares[best],
                probabilities=dict(zip(labels, shares, strict=True)),
                truncated=reading.truncated,
            )
        )
    return found
