"""What predict and the server need besides the model: how to read a text, the rule for answers, and the drift profile."""

from collections.abc import Sequence
from pathlib import Path

from finetune.base.fields import Text
from finetune.base.files import write_json
from finetune.runtime.classifier import Classifier
from finetune.runtime.drift import PROFILE, profile
from finetune.runtime.reading import Reader
from finetune.scoring.decisions import DECISION


def facts_read(source: dict) -> dict:
    """Facts for the ONNX files about texts of several columns (names, the pair) and about windows (their overlap).

    `source` is the content of data/tokenized/source.json.
    """
    columns = {"columns": source["data"]["columns"]} if "columns" in source["data"] else {}
    stride = source["settings"]["tokenize"].get("stride") if source["truncation"] == "windows" else None
    more = {"pair": source.get("pair"), "stride": stride}
    return columns | {name: value for name, value in more.items() if value is not None}


def write_rule(folder: Path, rule: dict | None):
    """The rule that evaluate chose; without one, no file of an earlier export stays."""
    (folder / DECISION).unlink(missing_ok=True)
    if rule:
        write_json(folder / DECISION, rule)


def write_profile(folder: Path, texts: Sequence[Text]):
    """Profile of the exported model's answers to the validation texts; the server compares later texts with it."""
    classifier = Classifier(folder)
    readings = Reader(classifier).read(texts)
    probabilities = classifier.answer([reading.ids for reading in readings])
    write_json(folder / PROFILE, profile(classifier.labels, readings, probabilities, classifier.thresholds))
