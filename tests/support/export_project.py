"""Tiny outputs of the stages before `export`: a model with its predictions for the test rows, and invented metrics."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from finetune.base.files import write_json
from finetune.base.metric_files import FILES, split_metrics
from finetune.encoder.models import fresh_classifier, save
from finetune.encoder.prediction import logits
from finetune.rows.stored import row_features
from finetune.rows.tokens import load_tokenizer, special_tokens, truncate
from tests.conftest import ROOT
from tests.support.project import DVC_CONFIG, PARAMS, Project
from tests.support.rows import tokenised
from tests.support.tiny import reviews

NAMES = ["负面", "正面", "中性"]
BLOCK = {"precision": 0.8, "recall": 0.7, "f1": 0.75, "rows": 10, "accuracy": 0.8}
TEST = {
    "accuracy": 0.8125,
    "f1": 0.8,
    "interval": {"low": 0.75, "high": 0.875},
    "rows": 160,
    "per_class": {"a": BLOCK, "b": BLOCK},
    "gain": {"value": 0.0625, "low": 0.01, "high": 0.11, "p_value": 0.012},
    "log_loss": 0.38,
    "brier": 0.11,
    "ece": 0.031,
    "roc_auc": 0.9,
    "intervals": {
        metric: {"low": 0.75, "high": 0.875} for metric in ("accuracy", "precision", "recall", "f1", "roc_auc")
    },
    "precision": 0.79,
    "recall": 0.81,
    "calibration": {"temperature": 1.6, "uncalibrated": {"log_loss": 0.4, "brier": 0.12, "ece": 0.051}},
    "selective": {"keep_80": {"accuracy": 0.9, "rows": 128, "interval": {"low": 0.84, "high": 0.94}}},
}
BASELINE = {
    name: TEST | {"accuracy": accuracy}
    for name, accuracy in {
        "majority": 0.5,
        "tfidf": 0.75,
        "embedding": 0.7,
        "untrained": 0.4,
        "zero_shot": 0.6,
        "few_shot": 0.65,
    }.items()
} | {"best": "tfidf"}
SOURCE = {
    "data": {"uri": "hf://datasets/owner/reviews@main", "commit": "c0ffee"},
    "model": {"uri": "hf://owner/encoder", "sha256": "0" * 64},
    "truncation": "head_tail",
    "settings": {name: PARAMS[name] for name in ("split", "tokenize")},
}
ENTRY = {"rows": 40, "interval": {"low": 0.7, "high": 0.9}}
METRICS = {
    "data": {
        "rows": {"train": 800, "validation": 100, "test": 160},
        "labels": {"a": 500, "b": 560},
        "dropped": {"empty": 1, "duplicate": 2, "unlabelled": 3, "group": 0},
        "tokens": {"mean": 27.2, "p95": 50},
        "truncated": 0.25,
    },
    "baseline": BASELINE,
    "train": {
        "validation": {"accuracy": 0.825, "f1": 0.8, "loss": 0.4},
        "best_epoch": 2,
        "epochs": 3,
        "steps": 75,
        "strategy": "full",
        "reason": "auto: measured best for more than 100 training rows, found 800",
        "majority": 0.55,
        "warning": None,
        "parameters": {"total": 1000, "trained": 900},
        "precision": "bf16",
    },
    "test": TEST,
    "slices": {
        "length": {"short": ENTRY | {"accuracy": 0.85}, "long": ENTRY | {"accuracy": 0.775}},
        "truncated": {"no": ENTRY | {"accuracy": 0.8125}},
        "worst": ENTRY | {"slice": "group: a|b", "accuracy": 0.6, "compared": 5},
    },
    "behaviour": {
        "typos": {"failure_rate": 0.1, "rows": 40, "interval": {"low": 0.06, "high": 0.2}},
        "case": {"failure_rate": 0.0, "rows": 40, "interval": {"low": 0.0, "high": 0.08}},
    },
    "checks": {
        "near_duplicates": {"train_validation": 0, "train_test": 1, "validation_test": 0},
        "suspicious_labels": {"train": 9, "validation": 2, "test": 3},
    },
}


def write_evaluated(folder: Path, checkpoint: Path):
    """Fills a folder as `evaluate` leaves it: three classes with Chinese names, texts truncated to head and tail."""
    tokenizer = load_tokenizer(checkpoint)
    rows = tokenised(
        tokenizer, [row | {"label": NAMES[position % 3]} for position, row in enumerate(reviews(40))], NAMES
    )
    special = special_tokens(tokenizer)
    cut = [truncate(ids, 12, "head_tail", special) for ids in rows["input_ids"]]
    columns = {name: rows[name][:] for name in rows.column_names} | {
        "input_ids": cut,
        "truncated": [len(ids) > 12 for ids in rows["input_ids"]],
    }
    tokenizer.model_max_length = 12
    model = fresh_classifier(checkpoint, NAMES, seed=3)
    save(model, tokenizer, folder / "models/finetuned")
    (folder / "models/finetuned/training.json").write_text(json.dumps(PARAMS["train"]))
    for part in ("data/tokenized", "data/predictions", "metrics", "benchmarks"):
        (folder / part).mkdir(parents=True)
    table = pa.table(columns, schema=row_features(NAMES).arrow_schema)
    pq.write_table(table, folder / "data/tokenized/test.parquet")
    pq.write_table(table.slice(10, 20), folder / "data/tokenized/validation.parquet")
    (folder / "data/tokenized/source.json").write_text(json.dumps(SOURCE))
    predicted = logits(model, cut, tokenizer.pad_token_id)
    pq.write_table(
        pa.table({"row": columns["row"], "logits": pa.array(list(predicted))}), folder / "data/predictions/test.parquet"
    )
    for name, content in METRICS.items():
        stage, keys = FILES[name]
        headline, detail = split_metrics(content, keys)
        if keys:
            write_json(folder / f"metrics/{name}.json", headline)
        write_json(folder / f"metrics/detail/{stage}/{name}.json", detail)
    for name in ("benchmarks/speed.json", "requirements.txt", "requirements-export.txt"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))


def exported_project(folder: Path, checkpoint: Path) -> Project:
    """A project whose only stage is `export`, run by real DVC and committed; the inputs of the stage are plain files."""
    write_evaluated(folder, checkpoint)
    project = Project(folder)
    for part in ("finetune", "stages"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    pipeline = {"stages": {"export": pipeline["stages"]["export"]}, "artifacts": pipeline["artifacts"]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    (folder / ".gitignore").write_text("/models\n__pycache__/\n")
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text(DVC_CONFIG, encoding="utf-8")
    shutil.copy(ROOT / ".dvc/.gitignore", folder / ".dvc/.gitignore")
    project.run("git", "init", "-q", "-b", "main")
    project.run("git", "config", "user.email", "test@example.com")
    project.run("git", "config", "user.name", "Test")
    project.dvc("repro")
    project.commit("Export")
    return project
