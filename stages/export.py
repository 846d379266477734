"""Put the model into a folder that ships, also as ONNX, with its card, and prove that each answers as evaluated.

    python -m stages.export

reads   models/finetuned/, data/tokenized/validation.parquet, test.parquet and source.json, data/predictions/test.parquet
        metrics/data.json, baseline.json, train.json, test.json, slices.json, behaviour.json, checks.json
        benchmarks/speed.json, the lists of pinned versions
writes  models/export/
        metrics/export.json
"""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
from scipy.special import softmax

from finetune.base.command import run
from finetune.base.errors import UserError
from finetune.base.files import read_json, write_json
from finetune.base.params import read_params
from finetune.encoder.models import trained_classifier
from finetune.export.card import Facts, model_card
from finetune.export.onnx_files import fp32_onnx, int8_onnx
from finetune.export.pins import pinned_versions
from finetune.export.reload import reloaded_probabilities
from finetune.rows.stored import TOKENIZED, label_names, read_rows
from finetune.rows.tokens import load_tokenizer, special_tokens
from finetune.runtime.classifier import FP32, INT8, Classifier
from finetune.runtime.drift import PROFILE, profile
from finetune.runtime.reading import Reader
from finetune.wording.numbers import dotted

FINETUNED = Path("models/finetuned")
PREDICTIONS = Path("data/predictions/test.parquet")
EXPORT = Path("models/export")
METRICS = Path("metrics/export.json")
MEASURED = ("data", "baseline", "train", "test", "slices", "behaviour", "checks")
SPEED = Path("benchmarks/speed.json")  # times are no output of a stage: two runs would differ
SHOWN = ("torch", "transformers", "tokenizers", "datasets", "scikit-learn", "onnx", "onnxruntime")  # on the card
ONNX_TOLERANCE = 1e-4  # of a logit: the same sums in fp32, in another order


def compare(evaluated: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Largest difference of a logit or probability, and the share of rows that keep their label."""
    return {
        "max_difference": np.abs(evaluated - found).max(),
        "agreement": (evaluated.argmax(1) == found.argmax(1)).mean(),
    }


def int8_verdict(labels: np.ndarray, evaluated: np.ndarray, found: np.ndarray, max_drop: float) -> dict:
    """Accuracy in int8, its change, agreement with the evaluated labels; and whether that ships, and why."""
    accuracy = (found.argmax(1) == labels).mean()
    change = accuracy - (evaluated.argmax(1) == labels).mean()
    kept = bool(change >= -max_drop)
    return {
        "accuracy": accuracy,
        "change": change,
        "agreement": compare(evaluated, found)["agreement"],
        "kept": kept,
        "why": f"accuracy changes by {change:+.4f}; export.int8.max_drop allows a fall of {max_drop:g}",
    }


def write_onnx(temperature: float, truncation: str, names: list[str]):
    """Both ONNX files, each with all that a caller must know in its metadata."""
    tokenizer = load_tokenizer(FINETUNED)
    model = fp32_onnx(
        trained_classifier(FINETUNED).cpu(),
        temperature,
        {
            "labels": names,
            "temperature": temperature,
            "max_length": tokenizer.model_max_length,
            "truncation": truncation,
            "special_tokens": special_tokens(tokenizer),
            "pad_id": tokenizer.pad_token_id,
        },
    )
    (EXPORT / FP32).parent.mkdir(exist_ok=True)
    onnx.save(model, EXPORT / FP32)
    onnx.save(int8_onnx(model), EXPORT / INT8)


def onnx_logits(model: Path, texts: list[str]) -> np.ndarray:
    """Logits of shape [texts, classes] of one of the ONNX files."""
    classifier = Classifier(EXPORT, model, threads=1)
    return classifier.answer(classifier.encode(texts), "logits")


def write_profile(texts: list[str]):
    """What the shipped model makes of the validation texts; the server compares what it gets with it."""
    classifier = Classifier(EXPORT)
    readings = Reader(classifier).read(texts)
    probabilities = classifier.answer([reading.ids for reading in readings])
    write_json(EXPORT / PROFILE, profile(classifier.labels, readings, probabilities))


def main():
    settings = read_params("export")
    measured = {name: read_json(Path(f"metrics/{name}.json")) for name in MEASURED}
    source = read_json(TOKENIZED / "source.json")
    test = read_rows("test")
    labels, texts = np.asarray(test["label"][:]), test["text"][:]
    shutil.copytree(FINETUNED, EXPORT, dirs_exist_ok=True)
    write_onnx(measured["test"]["calibration"]["temperature"], source["truncation"], label_names(test))
    reloaded = reloaded_probabilities(EXPORT)
    # From the texts on: that the tokenizer without transformers gives the same tokens is part of the proof.
    found = {model: onnx_logits(model, texts) for model in (FP32, INT8)}

    evaluated = np.array(pq.read_table(PREDICTIONS).column("logits").to_pylist())
    reload = compare(softmax(evaluated, axis=1), reloaded)
    if reload["max_difference"] > settings.tolerance:
        raise UserError(
            f"the exported model's probabilities differ from the evaluated ones by up to {reload['max_difference']:.2g}; "
            f"export.tolerance allows {settings.tolerance}: run `dvc repro --force evaluate export`"
        )
    exact = compare(evaluated, found[FP32])
    if exact["max_difference"] > ONNX_TOLERANCE:
        raise UserError(
            f"the logits of {EXPORT / FP32} differ from the evaluated ones by up to {exact['max_difference']:.2g}; at most "
            f"{ONNX_TOLERANCE} is expected: run `dvc repro --force evaluate export`, and report it if that does not help"
        )
    int8 = int8_verdict(labels, evaluated, found[INT8], settings.int8.max_drop)
    if not int8["kept"]:
        (EXPORT / INT8).unlink()
    write_profile(read_rows("validation")["text"][:])

    files = {"model": EXPORT / "model.safetensors", "onnx": EXPORT / FP32, "int8": EXPORT / INT8}
    megabytes = {name: round(file.stat().st_size / 1e6, 2) for name, file in files.items() if file.exists()}
    exported = {"reload": reload, "onnx": exact, "int8": int8, "megabytes": megabytes}
    # As the stages that read them wrote them down: `export` itself reads no section but its own.
    training = read_json(FINETUNED / "training.json")
    versions = pinned_versions()
    facts = Facts(
        name=settings.name,
        license=settings.license,
        source=source,
        metrics=measured | {"export": exported},
        parameters=dotted(source["settings"] | {"train": training}),
        versions={name: versions[name] for name in SHOWN},
        speed=read_json(SPEED),
        grouped=any(group is not None for group in test["group"][:]),
    )
    (EXPORT / "README.md").write_text(model_card(facts), encoding="utf-8")
    write_json(METRICS, exported)
    print(
        f"models/export: reloaded, {reload['agreement']:.1%} same labels; ONNX, {exact['agreement']:.1%}; "
        f"int8 {'kept' if int8['kept'] else 'left out'}: {int8['why']}"
    )


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
