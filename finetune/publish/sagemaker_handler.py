"""Handler that SageMaker's containers call: `code/inference.py` in the archive that `make publish TO=s3://…` writes.

The container imports it once, calls `model_fn`, and for each request `input_fn`, `predict_fn` and `output_fn`.
https://sagemaker.readthedocs.io/en/stable/frameworks/pytorch/using_pytorch.html#serve-a-pytorch-model
"""

import csv
import io
import json

import numpy as np

from finetune.base.fields import Text
from finetune.base.files import csv_writer
from finetune.runtime.classifier import Classifier
from finetune.runtime.label_sets import label_set
from finetune.scoring.decisions import UNSURE, shown_class

JSON, CSV = "application/json", "text/csv"


def model_fn(model_dir: str) -> Classifier:
    """The model in the folder of the unpacked archive."""
    return Classifier(model_dir)


def input_fn(request_body: str | bytes, request_content_type: str) -> list[str | dict]:
    """Texts of a request: JSON `{"inputs": text or texts}`, or CSV with one text a row and no header.

    For a model of several columns a text is an object with these, in JSON.

    Raises ValueError with the reason for any other body.
    """
    kind = (request_content_type or "").partition(";")[0].strip().lower()
    if kind not in (JSON, CSV):
        raise ValueError(f"the content type must be {JSON} or {CSV}, found {request_content_type!r}")
    try:
        body = request_body if isinstance(request_body, str) else bytes(request_body).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"the body is not UTF-8: {error}") from None
    return csv_texts(body) if kind == CSV else json_texts(body)


def json_texts(body: str) -> list[str | dict]:
    """Texts under `inputs`; a single text needs no list."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    texts = value.get("inputs") if isinstance(value, dict) else None
    texts = [texts] if isinstance(texts, str | dict) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str | dict) for text in texts):
        raise ValueError('the body must be {"inputs": "a text"} or {"inputs": ["a text", "another"]}')
    return texts


def csv_texts(body: str) -> list[str]:
    """The only field of each row; empty rows are skipped."""
    try:
        rows = [row for row in csv.reader(io.StringIO(body, newline=""), strict=True) if row]
    except csv.Error as error:
        raise ValueError(f"the body is not CSV: {error}") from None
    if not rows:
        raise ValueError("the body holds no text; expected one per row")
    for number, row in enumerate(rows, start=1):
        if len(row) != 1:
            raise ValueError(
                f"row {number} has {len(row)} fields, expected one text; quote a text that contains a comma"
            )
    return [text for (text,) in rows]


def with_columns(texts: list[str | dict], columns: list[str] | None) -> list[Text]:
    """The texts as the classifier takes them; raises ValueError for an object, or its absence, where the model has no use for it."""
    if columns is None:
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("each of the inputs must be a text, found an object")
        return texts
    expected = f"each of the inputs must be an object with the texts of {', '.join(columns)}"
    for text in texts:
        if not isinstance(text, dict) or set(text) != set(columns):
            raise ValueError(f"{expected}, found {', '.join(text) if isinstance(text, dict) else 'a text'}")
        if not all(field is None or isinstance(field, str) for field in text.values()):
            raise ValueError(f"{expected}, found a value that is no text")
    return [tuple(text[name] for name in columns) for text in texts]


def predict_fn(texts: list[str | dict], model: Classifier) -> list[dict]:
    """Label of each text, its calibrated probability, and the probabilities of all labels.

    Where the model may leave a text unsure, `unsure` says whether it does; then the label is None. Of a model for
    several labels per text: the labels that reach their thresholds, and all probabilities.
    """
    answers = []
    rows = model.probabilities(with_columns(texts, model.columns))
    if model.several:
        return [set_answer(row, model) for row in rows]
    for row, answer in zip(rows, model.decision.answers(rows), strict=True):
        probabilities = {label: round(float(value), 6) for label, value in zip(model.labels, row, strict=True)}
        unsure, shown = bool(answer == UNSURE), model.labels[shown_class(answer, row)]
        answers.append(
            {"label": None if unsure else shown}
            | ({"unsure": unsure} if model.decision.leaves_unsure else {})
            | {"score": probabilities[shown], "probabilities": probabilities}
        )
    return answers


def set_answer(probabilities: np.ndarray, model: Classifier) -> dict:
    """Labels of a text that reach their thresholds, and the probabilities of all, from its probabilities, [labels]."""
    shares = {label: round(float(value), 6) for label, value in zip(model.labels, probabilities, strict=True)}
    return {"labels": label_set(model.labels, model.thresholds, probabilities), "probabilities": shares}


def csv_row(answer: dict) -> list:
    """Label and probability; of several labels their list, as JSON, and the probability of each label of the model."""
    if "labels" in answer:
        return [json.dumps(answer["labels"], ensure_ascii=False), *answer["probabilities"].values()]
    return [answer["label"], answer["score"]]


def output_fn(prediction: list[dict], accept: str) -> tuple[str, str]:
    """Body and content type: JSON, or CSV with a row for each text, as `csv_row` has it; a label is empty where the model is unsure.

    Raises ValueError if the caller accepts neither.
    """
    accepted = [kind.partition(";")[0].strip().lower() for kind in (accept or "*/*").split(",")]
    for kind in accepted:
        if kind in (JSON, "application/*", "*/*"):
            return json.dumps(prediction, ensure_ascii=False), JSON
        if kind in (CSV, "text/*"):
            text = io.StringIO()
            csv_writer(text).writerows(map(csv_row, prediction))
            return text.getvalue(), CSV
    raise ValueError(f"the answer can be {JSON} or {CSV}, but only {accept!r} is accepted")
