"""The stage on small and awkward data: three Chinese labels, one without test rows, no groups, texts cut twice."""

import csv
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from finetune.base.errors import UserError
from finetune.base.metric_files import stage_metrics
from finetune.encoder.models import fresh_classifier, save
from finetune.evaluation.slices import slices_of
from finetune.rows.stored import label_names, read_rows, read_sample, row_features
from finetune.rows.tokens import load_tokenizer, special_tokens, truncate
from finetune.scoring.intervals import SEED
from stages import evaluate
from tests.support.project import PARAMS
from tests.support.rows import tokenised
from tests.support.tiny import reviews

NAMES = ["负面", "正面", "中性"]
LENGTH = 12


@pytest.fixture
def tokenized(workdir, tiny_bert):
    """A working folder as `train` and `baseline_eval` leave it; no test row is 中性."""
    tokenizer = load_tokenizer(tiny_bert)
    special = special_tokens(tokenizer)
    (workdir / "data/tokenized").mkdir(parents=True)
    (workdir / "data/predictions").mkdir()
    every = reviews(100)
    start = 0
    for split, count, classes in (("train", 60, 3), ("validation", 20, 3), ("test", 20, 2)):
        part = [row | {"label": NAMES[position % classes]} for position, row in enumerate(every[start : start + count])]
        if split == "test":
            part[0]["text"] = f"={every[0]['text']} the"  # the first training row, as a formula and with a word
        rows = tokenised(tokenizer, part, NAMES)
        columns = {name: rows[name][:] for name in rows.column_names} | {
            "row": list(range(start, start + count)),
            "input_ids": [truncate(ids, LENGTH, "head_tail", special) for ids in rows["input_ids"]],
            "truncated": [len(ids) > LENGTH for ids in rows["input_ids"]],
        }
        pq.write_table(pa.table(columns, schema=row_features(NAMES).arrow_schema), f"data/tokenized/{split}.parquet")
        start += count
    Path("data/tokenized/source.json").write_text(json.dumps({"truncation": "head_tail"}))
    tokenizer.model_max_length = LENGTH
    save(fresh_classifier(tiny_bert, NAMES, seed=3), tokenizer, workdir / "models/finetuned")
    test = read_rows("test")
    probabilities = pa.array([[0.5, 0.3, 0.2]] * len(test))
    pq.write_table(pa.table({"row": test["row"][:], "majority": probabilities}), "data/predictions/baseline.parquet")
    Path("metrics").mkdir()
    Path("metrics/baseline.json").write_text(json.dumps({"best": "majority"}))
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS))
    return workdir


def listed(name: str) -> list[dict[str, str]]:
    """One table of rows."""
    with Path(f"data/predictions/{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(value) -> list[float]:
    """Every number in nested metrics."""
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


def digest() -> dict[str, str]:
    """MD5 of each file that the stage wrote."""
    return {
        str(path): hashlib.md5(path.read_bytes()).hexdigest()
        for folder in ("metrics", "data/predictions")
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_the_stage_writes_every_file_with_the_same_bytes_again(tokenized):  # noqa: ARG001, it is the current folder
    evaluate.main()
    first = digest()
    test, slices, behaviour, checks = map(stage_metrics, ("test", "slices", "behaviour", "checks"))
    names = {"accuracy", "precision", "recall", "f1", "log_loss", "brier", "ece", "roc_auc"}
    assert set(test["intervals"]) == names
    assert test["intervals"]["accuracy"] == test["interval"]
    assert set(test["calibration"]) == {"temperature", "uncalibrated"}
    assert len(test["rows_digest"]) == 16
    assert {name: entry["rows"] for name, entry in test["selective"].items()} == {
        "keep_90": 18,
        "keep_80": 16,
        "keep_50": 10,
    }
    assert all(math.isfinite(number) for number in numbers([test, slices, behaviour, checks]))

    assert {name: entry["rows"] for name, entry in slices["label"].items()} == {"负面": 10, "正面": 10}
    assert sum(entry["rows"] for entry in slices["length"].values()) == 20
    assert slices["worst"]["rows"] >= PARAMS["evaluate"]["slices"]["min_rows"]
    # With three labels a negation does not determine the new label.
    assert set(behaviour) == {"typos", "case", "neutral"}
    assert behaviour["case"]["failure_rate"] == 0  # the tokenizer is uncased
    for edit, entry in behaviour.items():
        failed = [row for row in listed("behaviour") if row["edit"] == edit]
        assert entry["failure_rate"] == pytest.approx(len(failed) / entry["rows"])
        assert all(row["label_before"] != row["label_after"] and row["before"] != row["after"] for row in failed)

    assert checks["near_duplicates"]["train_test"] == 1
    found = [row for row in listed("near_duplicates") if (row["other_split"], row["split"]) == ("train", "test")]
    assert [(row["row"], row["other_row"]) for row in found] == [("80", "0")]
    assert found[0]["text"].startswith("'=")  # no spreadsheet computes it
    for split, count in checks["suspicious_labels"].items():
        rows = [row for row in listed("suspicious_labels") if row["split"] == split]
        assert len(rows) == count
        assert all(row["label"] != row["suggested"] for row in rows)

    evaluate.main()
    assert digest() == first


def test_of_many_training_rows_a_sample_is_checked_and_the_metrics_say_so(tokenized, monkeypatch):  # noqa: ARG001, as above
    monkeypatch.setattr(evaluate, "TRAIN_SAMPLE", 60)
    evaluate.main()
    assert "train_rows" not in stage_metrics("checks")  # there are no more
    monkeypatch.setattr(evaluate, "TRAIN_SAMPLE", 30)
    evaluate.main()
    assert stage_metrics("checks")["train_rows"] == 30
    sample = {str(row) for row in read_sample("train", 30, SEED)["row"][:]}
    assert {row["row"] for row in listed("suspicious_labels") if row["split"] == "train"} <= sample


def test_disabled_parts_are_left_out(tokenized):  # noqa: ARG001, it is the current folder
    settings = {
        "slices": {"min_rows": 1000, "negations": []},
        "behaviour": {"rows": 0, "neutral": [], "negation_flips": True},
    }
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS | {"evaluate": PARAMS["evaluate"] | settings}))
    evaluate.main()
    assert stage_metrics("behaviour") == {}
    assert listed("behaviour") == []
    assert set(stage_metrics("slices")) == {"length", "truncated", "label"}


def test_slices_of_rows_name_labels_and_groups(tokenized):  # noqa: ARG001, it is the current folder
    from finetune.base.params_results import Slices

    rows = read_rows("test")
    groups = [f"film {position % 3}" if position < 18 else None for position in range(len(rows))]
    rows = rows.remove_columns("group").add_column("group", groups)
    found = slices_of(rows, np.ones(len(rows), bool), Slices(min_rows=6, negations=["no"]))
    assert {name: entry["rows"] for name, entry in found["group"].items()} == {f"film {n}": 6 for n in range(3)}
    assert set(found["label"]) == set(label_names(rows)[:2])


def with_rule(**rule):
    """Sets the rule of `decide` in params.yaml."""
    decide = PARAMS["decide"] | rule
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS | {"decide": decide}))


def test_a_decision_is_measured_on_validation_and_test_and_changes_no_other_metric(tokenized, capsys):  # noqa: ARG001
    """Three labels and a model that knows nothing, whose surest rows still reach some accuracy."""
    evaluate.main()
    before, without = digest(), stage_metrics("test")
    assert "decision" not in without
    with_rule(min_probability=0.36)
    evaluate.main()
    test = stage_metrics("test")
    decision = test.pop("decision")
    assert test == without
    assert decision["min_probability"] == 0.36
    answered = decision["test"]["answered"]
    logits = np.array(pq.read_table("data/predictions/test.parquet").column("logits").to_pylist())
    scaled = np.exp(logits / test["calibration"]["temperature"])
    assert answered["rows"] == 20
    assert answered["value"] == pytest.approx(((scaled / scaled.sum(1, keepdims=True)).max(1) >= 0.36).mean())
    assert (
        f"decision: answers from a probability of 0.3600 on; validation answered {decision['validation']['answered']['value']:.3f}"
        in capsys.readouterr().out
    )
    with_rule()
    evaluate.main()
    assert digest() == before


def test_a_threshold_for_three_labels_stops_the_stage_with_one_line(tokenized):  # noqa: ARG001
    with_rule(threshold={"label": NAMES[0], "precision": 0.9})
    with pytest.raises(UserError, match=r"^decide\.threshold is for two labels, found 3: "):
        evaluate.main()
