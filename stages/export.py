"""Write the folder that ships (safetensors, ONNX, card, drift profile) and check that each format gives the evaluated answers.

    python -m stages.export

reads   models/finetuned/, data/tokenized/validation.parquet, test.parquet and source.json, data/predictions/test.parquet
        metrics/data.json, baseline.json, train.json, test.json, and the detail of the stages before
        benchmarks/speed.json, the lists of pinned versions
writes  models/export/
        metrics/export.json, metrics/detail/export/
"""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset

from finetune.base.command import run
from finetune.base.files import read_json
from finetune.base.metric_files import stage_metrics, write_metrics
from finetune.base.params import read_params
from finetune.base.terminal import say
from finetune.encoder.models import save, trained_classifier
from finetune.export.card import card_facts, model_card
from finetune.export.model_name import model_name
from finetune.export.onnx_files import write_onnx
from finetune.export.proof import onnx_logits, onnx_proof, reload_proof
from finetune.export.reload import proof_rows, reloaded_probabilities
from finetune.export.runtime_files import facts_read, write_profile, write_rule
from finetune.export.task import task_of
from finetune.rows.stored import TOKENIZED, column, label_names, texts_read
from finetune.rows.tokens import load_tokenizer
from finetune.runtime.classifier import FP32, INT8

FINETUNED = Path("models/finetuned")
PREDICTIONS = Path("data/predictions/test.parquet")
EXPORT = Path("models/export")
MEASURED = ("data", "baseline", "train", "test", "slices", "behaviour", "checks")
SPEED = Path("benchmarks/speed.json")  # times are no output of a stage: two runs would differ
MOST_COMPARED = 10_000  # test rows on which the formats are compared: four passes over each


def evaluated_logits(test: Dataset) -> tuple[np.ndarray, int]:
    """Logits of these test rows as evaluated, of shape [rows, classes], and how many test rows there are in all."""
    predictions = pq.read_table(PREDICTIONS)
    of_sample = pc.is_in(predictions.column("row"), column(test, "row"))
    return np.array(predictions.filter(of_sample).column("logits").to_pylist()), len(predictions)


def main():
    settings = read_params("export")
    measured = {name: stage_metrics(name) for name in MEASURED}
    source = read_json(TOKENIZED / "source.json")
    test = proof_rows("test", MOST_COMPARED)
    texts = texts_read(test)
    evaluated, test_rows = evaluated_logits(test)

    shutil.copytree(FINETUNED, EXPORT, dirs_exist_ok=True)
    task = task_of(test, measured["test"])
    tokenizer, model = load_tokenizer(FINETUNED), trained_classifier(FINETUNED)
    if task.calibrate(model):
        save(model, tokenizer, EXPORT)
    write_rule(EXPORT, task.rule)
    write_onnx(EXPORT, model, tokenizer, task.temperature, source["truncation"], label_names(test), facts_read(source))
    reloaded = reloaded_probabilities(EXPORT, MOST_COMPARED)
    reload = reload_proof(evaluated, reloaded, settings.tolerance, task.thresholds)
    exact = onnx_proof(evaluated, onnx_logits(EXPORT, FP32, texts), EXPORT, task.thresholds)
    int8 = task.int8_verdict(test, evaluated, onnx_logits(EXPORT, INT8, texts), settings.int8.max_drop)
    if not int8["kept"]:
        (EXPORT / INT8).unlink()
    write_profile(EXPORT, texts_read(proof_rows("validation", MOST_COMPARED)))

    files = {"model": EXPORT / "model.safetensors", "onnx": EXPORT / FP32, "int8": EXPORT / INT8}
    megabytes = {name: round(file.stat().st_size / 1e6, 2) for name, file in files.items() if file.exists()}
    exported = {"reload": reload, "onnx": exact, "int8": int8, "megabytes": megabytes}
    exported |= {"rows": len(test)} if len(test) < test_rows else {}
    facts = card_facts(
        name=model_name(settings.name, source["data"]["uri"]),
        license=settings.license,
        source=source,
        metrics=measured | {"export": exported},
        training=read_json(FINETUNED / "training.json"),
        speed=read_json(SPEED),
        grouped=column(test, "group").null_count < len(test),
    )
    (EXPORT / "README.md").write_text(model_card(facts), encoding="utf-8")
    write_metrics("export", exported)
    say(
        f"models/export: reloaded, {reload['agreement']:.1%} same labels; ONNX, {exact['agreement']:.1%}; "
        f"int8 {'kept' if int8['kept'] else 'left out'}: {int8['why']}"
    )


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
