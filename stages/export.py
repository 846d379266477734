"""Write the folder that ships (safetensors, ONNX, card, drift profile) and check that each format gives the evaluated answers.

    python -m stages.export

reads   models/finetuned/, data/tokenized/validation.parquet, test.parquet and source.json, data/predictions/test.parquet
        metrics/data.json, baseline.json, train.json, test.json, and the detail of the stages before
        benchmarks/speed.json, the lists of pinned versions
writes  models/export/
        metrics/export.json, metrics/detail/export/
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from finetune.base.command import run
from finetune.base.fields import Text
from finetune.base.files import read_json, write_json
from finetune.base.metric_files import stage_metrics, write_metrics
from finetune.base.params import Export, read_params
from finetune.base.terminal import say
from finetune.encoder.models import divide_logits, save, trained_classifier
from finetune.export.card import Facts, model_card
from finetune.export.model_name import model_name
from finetune.export.onnx_files import write_onnx
from finetune.export.pins import pinned_versions
from finetune.export.proof import int8_set_verdict, int8_verdict, onnx_logits, onnx_proof, reload_proof
from finetune.export.reload import proof_rows, reloaded_probabilities
from finetune.rows.stored import TOKENIZED, class_ids, column, has_label_sets, label_matrix, label_names, texts_read
from finetune.rows.tokens import load_tokenizer
from finetune.runtime.classifier import FP32, INT8, Classifier
from finetune.runtime.drift import PROFILE, profile
from finetune.runtime.reading import Reader
from finetune.scoring.decisions import DECISION
from finetune.wording.numbers import dotted

FINETUNED = Path("models/finetuned")
PREDICTIONS = Path("data/predictions/test.parquet")
EXPORT = Path("models/export")
MEASURED = ("data", "baseline", "train", "test", "slices", "behaviour", "checks")
SPEED = Path("benchmarks/speed.json")  # times are no output of a stage: two runs would differ
MOST_COMPARED = 10_000  # test rows on which the formats are compared: four passes over each
SHOWN = ("torch", "transformers", "tokenizers", "datasets", "scikit-learn", "onnx", "onnxruntime")  # on the card


def write_decision(decision: dict | None):
    """The rule that evaluate chose, for predict and the server; without one, no file of an earlier export stays."""
    (EXPORT / DECISION).unlink(missing_ok=True)
    if decision:
        write_json(EXPORT / DECISION, decision)


def facts_read(source: dict) -> dict:
    """Facts for the ONNX files about texts of several columns (names, the pair) and about windows (their overlap)."""
    columns = {"columns": source["data"]["columns"]} if "columns" in source["data"] else {}
    stride = source["settings"]["tokenize"].get("stride") if source["truncation"] == "windows" else None
    more = {"pair": source.get("pair"), "stride": stride}
    return columns | {name: value for name, value in more.items() if value is not None}


def write_profile(texts: Sequence[Text]):
    """Profile of the shipped model's answers to the validation texts; the server compares later texts with it."""
    classifier = Classifier(EXPORT)
    readings = Reader(classifier).read(texts)
    probabilities = classifier.answer([reading.ids for reading in readings])
    write_json(EXPORT / PROFILE, profile(classifier.labels, readings, probabilities))


def card_facts(settings: Export, source: dict, metrics: dict[str, dict], grouped: bool) -> Facts:
    """All that the card shows; parameters are those that earlier stages recorded: `export` reads no section but its own."""
    versions = pinned_versions()
    return Facts(
        name=model_name(settings.name, source["data"]["uri"]),
        license=settings.license,
        source=source,
        metrics=metrics,
        parameters=dotted(source["settings"] | {"train": read_json(FINETUNED / "training.json")}),
        versions={name: versions[name] for name in SHOWN},
        speed=read_json(SPEED),
        grouped=grouped,
    )


def main():
    settings = read_params("export")
    measured = {name: stage_metrics(name) for name in MEASURED}
    source = read_json(TOKENIZED / "source.json")
    test = proof_rows("test", MOST_COMPARED)
    several, texts = has_label_sets(test), texts_read(test)
    labels = label_matrix(test) if several else class_ids(test)
    predictions = pq.read_table(PREDICTIONS)
    of_sample = pc.is_in(predictions.column("row"), column(test, "row"))
    evaluated = np.array(predictions.filter(of_sample).column("logits").to_pylist())

    shutil.copytree(FINETUNED, EXPORT, dirs_exist_ok=True)
    scores, thresholds = measured["test"], None
    tokenizer, model = load_tokenizer(FINETUNED), trained_classifier(FINETUNED)
    if several:
        thresholds = np.array([scores["thresholds"][name] for name in label_names(test)])
        divide_logits(model, np.array([scores["calibration"]["temperatures"][name] for name in label_names(test)]))
        save(model, tokenizer, EXPORT)
    write_decision({"thresholds": scores["thresholds"]} if several else scores.get("decision"))
    temperature = scores["calibration"].get("temperature")
    write_onnx(EXPORT, model, tokenizer, temperature, source["truncation"], label_names(test), facts_read(source))
    reload = reload_proof(evaluated, reloaded_probabilities(EXPORT, MOST_COMPARED), settings.tolerance, thresholds)
    exact = onnx_proof(evaluated, onnx_logits(EXPORT, FP32, texts), EXPORT, thresholds)
    in_int8, drop = onnx_logits(EXPORT, INT8, texts), settings.int8.max_drop
    if several:
        int8 = int8_set_verdict(labels, evaluated, in_int8, thresholds, drop)
    else:
        int8 = int8_verdict(labels, evaluated, in_int8, drop)
    if not int8["kept"]:
        (EXPORT / INT8).unlink()
    write_profile(texts_read(proof_rows("validation", MOST_COMPARED)))

    files = {"model": EXPORT / "model.safetensors", "onnx": EXPORT / FP32, "int8": EXPORT / INT8}
    megabytes = {name: round(file.stat().st_size / 1e6, 2) for name, file in files.items() if file.exists()}
    exported = {"reload": reload, "onnx": exact, "int8": int8, "megabytes": megabytes}
    exported |= {"rows": len(test)} if len(test) < len(predictions) else {}
    grouped = column(test, "group").null_count < len(test)
    facts = card_facts(settings, source, measured | {"export": exported}, grouped)
    (EXPORT / "README.md").write_text(model_card(facts), encoding="utf-8")
    write_metrics("export", exported)
    say(
        f"models/export: reloaded, {reload['agreement']:.1%} same labels; ONNX, {exact['agreement']:.1%}; "
        f"int8 {'kept' if int8['kept'] else 'left out'}: {int8['why']}"
    )


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
