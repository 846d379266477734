"""Several labels per text, end to end in real dvc: from a list in JSON Lines to the exported folder."""

import csv
import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from finetune.evaluation.spreadsheet import read_spreadsheet
from finetune.results.metrics import read_metrics
from finetune.runtime.classifier import Classifier
from tests.support.project import Project
from tests.support.server import running
from tests.support.tiny import tagged_texts

SETTINGS = {
    "data.uri": "data/local/tagged.jsonl",
    "data.label": "labels",
    "data.labels": None,
    "data.task": "multi_label",
    "train.epochs": 12,
    "train.class_weights": {"acted": 2.0},
}
EDITS = {"typos", "case", "neutral"}
SCORES = {"micro_f1", "f1", "sample_f1", "accuracy", "hamming_loss", "average_precision", "lrap"}


@pytest.fixture(scope="module")
def tagged(tmp_path_factory) -> Project:
    """The tiny project with several labels per text after `dvc repro`; do not change it."""
    project = Project.create(tmp_path_factory.mktemp("tagged") / "project")
    lines = "".join(json.dumps(row) + "\n" for row in tagged_texts(400))
    (project.folder / "data/local/tagged.jsonl").write_text(lines, encoding="utf-8")
    project.set_params(SETTINGS | {"gate": {"test.micro_f1": {"min": 0.3}, "test.lrap": {"min": 0.3}}})
    project.commit("Several labels")
    project.dvc("repro")
    return project


def test_every_score_has_an_interval_and_a_paired_gain(tagged):
    metrics = read_metrics(tagged.folder / "metrics")
    test = metrics["test"]
    for name in SCORES:
        ends = test["intervals"][name]
        assert ends["low"] <= test[name] <= ends["high"], name
    assert set(test["gains"]) == {"majority", "tfidf", "embedding"}
    assert all(gains.keys() >= SCORES for gains in test["gains"].values())
    assert test["micro_f1"] > metrics["baseline"]["majority"]["micro_f1"] + 0.2
    assert set(test["per_class"]) == {"acted", "bad", "good"}
    assert metrics["data"]["without_label"] > 50
    assert sum(metrics["data"]["rows"].values()) == 400


def test_edits_and_doubtful_labels_are_looked_for(tagged):
    """An answer fails an edit if its set changes; a doubtful set is listed with the set that would be less doubtful."""
    metrics = read_metrics(tagged.folder / "metrics")
    assert set(metrics["behaviour"]) == EDITS
    assert metrics["behaviour"]["case"]["failure_rate"] == 0  # the tiny tokenizer knows no capitals
    rows = read_spreadsheet(tagged.read("data/predictions/behaviour.csv"))
    assert all(row["label_before"] != row["label_after"] for row in rows)
    failures = metrics["behaviour"]["typos"]["failure_rate"] * metrics["behaviour"]["typos"]["rows"]
    assert round(failures) == sum(row["edit"] == "typos" for row in rows)
    doubtful = read_spreadsheet(tagged.read("data/predictions/suspicious_labels.csv"))
    assert metrics["checks"]["suspicious_labels"].keys() == {"train", "validation", "test"}
    assert sum(metrics["checks"]["suspicious_labels"].values()) == len(doubtful)
    assert all(row["label"] != row["suggested"] for row in doubtful)
    assert "What changes its answers" in tagged.read("models/export/README.md")


def test_another_commit_is_compared_row_by_row_and_every_row_is_tested_once_in_folds(tagged, tmp_path):
    project = tagged.copy(tmp_path / "project")
    project.commit("metrics")
    before = read_metrics(project.folder / "metrics")["test"]
    project.set_param("train.epochs", 2)
    project.dvc("repro", "evaluate")
    after = read_metrics(project.folder / "metrics")["test"]
    table = project.run("python", "-m", "finetune.gate", "--against", "HEAD", check=False).stdout
    assert f"Compared: paired on {after['rows']} rows." in table
    for name in ("accuracy", "micro_f1", "hamming_loss", "log_loss", "roc_auc"):
        old, new = (f"{side[name]:.4f}" for side in (before, after))
        assert re.search(rf"{name} +{old} +{new} ", table), name
    project.run("python", "-m", "finetune.cross_validation", "2")
    folds = json.loads(project.read("metrics/folds.json"))
    assert folds["rows"] == sum(read_metrics(project.folder / "metrics")["data"]["rows"].values())
    ends = folds["intervals"]["micro_f1"]
    assert ends["low"] < folds["micro_f1"] < ends["high"]
    listed = pq.read_table(project.folder / "data/predictions/folds.parquet").to_pydict()
    right = np.mean([label == answer for label, answer in zip(listed["label"], listed["predicted"], strict=True)])
    assert folds["accuracy"] == pytest.approx(right, abs=1e-6)


def test_the_weight_of_a_label_is_recorded_and_in_the_card(tagged):
    assert read_metrics(tagged.folder / "metrics")["train"]["class_weights"] == {"acted": 2.0, "bad": 1.0, "good": 1.0}
    card = (tagged.folder / "models/export/README.md").read_text(encoding="utf-8")
    assert "The classes weighed `acted` 2, `bad` 1, `good` 1 in the loss" in card


def test_pipeline_and_onnx_give_the_evaluated_probabilities_and_the_folder_the_thresholds(tagged):
    """`export` compares transformers.pipeline, in a process of its own, with what evaluate wrote: the same sets in every row."""
    metrics = read_metrics(tagged.folder / "metrics")
    assert metrics["export"]["reload"]["agreement"] == metrics["export"]["onnx"]["agreement"] == 1
    assert metrics["export"]["reload"]["max_difference"] < 1e-4
    folder = tagged.folder / "models/export"
    assert json.loads((folder / "config.json").read_text())["problem_type"] == "multi_label_classification"
    thresholds = json.loads((folder / "decision.json").read_text())["thresholds"]
    assert thresholds == metrics["test"]["thresholds"]
    classifier = Classifier(folder, threads=1)
    texts = pq.read_table(tagged.folder / "data/tokenized/test.parquet").column("text").to_pylist()
    answers = classifier.probabilities(texts) >= classifier.thresholds
    predicted = pq.read_table(tagged.folder / "data/predictions/test.parquet").column("predicted").to_pylist()
    assert np.mean([np.flatnonzero(row).tolist() == one for row, one in zip(answers, predicted, strict=True)]) >= 0.97


def test_the_gate_and_the_card_know_the_scores(tagged):
    assert "test.lrap" in tagged.run("python", "-m", "finetune.gate").stdout
    card = tagged.read("models/export/README.md")
    assert "label-ranking average precision (LRAP)" in card
    assert "| `acted` |" in card
    assert "majority" in tagged.run("python", "-m", "finetune.summary").stdout


def test_predict_answers_with_the_labels_that_reach_their_thresholds(tagged, tmp_path):
    """In lines, in a CSV table (as JSON) and in the Parquet files of a folder (as lists): the sets that evaluate wrote."""
    test = pq.read_table(tagged.folder / "data/tokenized/test.parquet").to_pydict()
    thresholds = json.loads(tagged.read("models/export/decision.json"))["thresholds"]
    texts = [text for text in test["text"] if text][:40]
    found = tagged.run("python", "-m", "finetune.predict", *texts, " ").stdout
    *lines, blank = [json.loads(line) for line in found.splitlines()]
    assert blank == {"labels": None, "probabilities": None}
    for line in lines:
        assert line.keys() == {"labels", "probabilities"}
        assert line["labels"] == [name for name, share in line["probabilities"].items() if share >= thresholds[name]]
    assert len({tuple(line["labels"]) for line in lines}) > 2

    folder = tmp_path / "texts"
    folder.mkdir()
    with (folder / "texts.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts), [" "]])
    table, parts = tmp_path / "answers.csv", tmp_path / "answers"
    for source, target in ((folder / "texts.csv", table), (folder, parts)):
        tagged.run("python", "-m", "finetune.predict", "--input", str(source), "--output", str(target))
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0].keys() == {"text", "labels", *(f"probability_{name}" for name in thresholds)}
    expected = [line["labels"] for line in lines]
    assert [row["labels"] and json.loads(row["labels"]) for row in rows] == [*expected, ""]
    assert pq.read_table(parts / "texts.parquet").column("labels").to_pylist() == [*expected, None]


def test_the_report_shows_each_label_with_its_threshold_and_the_wrong_sets(tagged, tmp_path):
    """In place of a confusion matrix a table of the labels; no section is about what was measured for one label only."""
    shutil.copytree(tagged.folder, tmp_path / "project", symlinks=True)
    project = Project(tmp_path / "project")
    project.commit("metrics")
    project.run("python", "-m", "finetune.report", "--against", "HEAD")
    page = project.read("report.html")
    test = read_metrics(project.folder / "metrics")["test"]
    labels = page.partition('id="labels"')[2].partition("</section>")[0]
    against = page.partition('id="against"')[2].partition("</section>")[0]
    assert "Rows cannot be compared" not in against
    for name, threshold in test["thresholds"].items():
        assert re.search(rf"<th scope=\"row\">{name}</th><td class=\"number\">{threshold:.3f}</td>", labels)
    assert "Confusion matrix" not in page
    assert all(f'<th scope="row">{name} <span' in page for name in ("micro_f1", "hamming_loss", "lrap"))
    wrong = json.loads(page.partition('id="mistakes"')[2].partition('application/json">')[2].partition("</script>")[0])
    with (project.folder / "data/predictions/mistakes.csv").open(encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    row, label, predicted, share, text = wrong["rows"][0]
    assert (str(row), text) == (first["row"], first["text"])
    assert share == pytest.approx(float(first["confidence"]), abs=1e-3)
    assert [wrong["columns"][at]["options"][value] for at, value in ((1, label), (2, predicted))] == [
        first["label"],
        first["predicted"],
    ]


def test_the_server_gives_the_answers_of_predict_and_finds_no_drift_in_the_validation_texts(tagged):
    """The card's commands, on the exported folder; the profile is that of these texts."""
    validation = pq.read_table(tagged.folder / "data/tokenized/validation.parquet").column("text").to_pylist()
    card = tagged.read("models/export/README.md")
    assert 'python -m finetune.predict --model path/to/this/folder "your text"' in card
    assert "python -m finetune.serve --folder path/to/this/folder" in card
    lines = tagged.run("python", "-m", "finetune.predict", *validation[:20]).stdout.splitlines()
    with running(tagged.folder / "models/export", "--max-texts", str(len(validation))) as server:
        _, answer = server.post("/predict", {"texts": validation})
        found = answer["predictions"]
        assert [one["labels"] for one in found[:20]] == [json.loads(line)["labels"] for line in lines]
        drift = server.get("/health")["drift"]
        assert drift["texts"] == len(validation)
        assert {name: one["distance"] for name, one in drift["features"].items()} == dict.fromkeys(
            ("label", "labels", "confidence", "length", "unknown"), 0
        )
        assert "acted" in server.send("GET", "/")[2].decode()


@pytest.mark.parametrize(
    ("columns", "truncation"), [(2, "head"), (3, "windows")], ids=["a pair", "three columns in windows"]
)
def test_several_columns_and_windows_go_with_several_labels(tmp_path, columns, truncation):
    """The words that tell the labels are spread over the columns; every format gives the evaluated answers."""
    project = Project.create(tmp_path / "project")
    names = ["title", "body", "notes"][:columns]
    rows = []
    for row in tagged_texts(300):
        words = row["text"].split()
        parts = {name: " ".join(words[place::columns]) for place, name in enumerate(names)}
        rows.append({**parts, "labels": row["labels"], "film": row["film"]})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (project.folder / "data/local/tagged.jsonl").write_text(lines, encoding="utf-8")
    tokens = {"max_length": 16 if truncation == "head" else 8, "truncation": truncation}
    project.set_params(
        SETTINGS | {"data.text": names, "tokenize": tokens, "train.epochs": 4, "train.class_weights": None, "gate": {}}
    )
    project.dvc("repro")
    metrics = read_metrics(project.folder / "metrics")
    assert metrics["export"]["reload"]["agreement"] == metrics["export"]["onnx"]["agreement"] == 1
    test = pq.read_table(project.folder / "data/tokenized/test.parquet").to_pydict()
    predicted = pq.read_table(project.folder / "data/predictions/test.parquet").column("predicted").to_pylist()
    texts = [dict(zip(names, fields, strict=True)) for fields in test["fields"]]
    answered = project.run("python", "-m", "finetune.predict", *map(json.dumps, texts)).stdout.splitlines()
    labels = list(metrics["test"]["per_class"])
    found = [[labels.index(name) for name in json.loads(line)["labels"]] for line in answered]
    assert np.mean([one == other for one, other in zip(found, predicted, strict=True)]) >= 0.97  # int8 against fp32
    with running(project.folder / "models/export") as server:
        _, answer = server.post("/predict", {"texts": texts[:20]})
        assert [one["labels"] for one in answer["predictions"]] == [
            json.loads(line)["labels"] for line in answered[:20]
        ]
    card = project.read("models/export/README.md")
    assert "`title`, `body`" in card.partition("## Use")[0]
