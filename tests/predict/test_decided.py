"""A model whose folder holds a decision: answers to texts and tables, where some are unsure or follow a threshold."""

import csv
import json
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from finetune.base.errors import UserError
from finetune.predict import __main__ as command_line
from finetune.predict.answers import answer_lines, answers
from finetune.publish.sagemaker_handler import model_fn, output_fn, predict_fn
from finetune.runtime.classifier import Classifier
from finetune.scoring.decisions import DECISION
from tests.support.random_export import NAMES, random_export
from tests.support.tiny import reviews, write_table

TEXTS = [row["text"] for row in reviews(30, seed=5)]


@pytest.fixture(scope="module")
def least(tmp_path_factory) -> tuple[Path, float]:
    """A folder that leaves half of the texts unsure, and its least probability."""
    folder = random_export(tmp_path_factory.mktemp("decided") / "export")
    middle = round(float(np.median(Classifier(folder, threads=1).probabilities(TEXTS).max(1))), 4)
    (folder / DECISION).write_text(json.dumps({"min_probability": middle}))
    return folder, middle


@pytest.fixture
def threshold(learnt, tmp_path) -> Path:
    """A folder that answers good from a probability of 0.1 on."""
    folder = shutil.copytree(learnt, tmp_path / "export")
    (folder / DECISION).write_text(json.dumps({"threshold": {"label": "good", "probability": 0.1}}))
    return folder


def scored(folder: Path, source: Path, output: Path, monkeypatch):
    """Runs the command on a table in this process."""
    monkeypatch.setattr(
        sys, "argv", ["predict", "--model", str(folder), "--input", str(source), "--output", str(output)]
    )
    before = signal.getsignal(signal.SIGTERM)
    try:
        command_line.main()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_unsure_text_has_no_label_and_says_so(least):
    folder, middle = least
    classifier = Classifier(folder, threads=1)
    found = [json.loads(line) for line in answer_lines(classifier, [*TEXTS, " "]).splitlines()]
    rows = classifier.probabilities(TEXTS)
    for answer, row in zip(found, rows, strict=False):
        assert list(answer) == ["label", "unsure", "probability", "probabilities"]
        assert answer["unsure"] == (row.max() < middle)
        assert answer["label"] == (None if answer["unsure"] else NAMES[row.argmax()])
        assert answer["probability"] == max(answer["probabilities"].values())
    assert 10 <= sum(answer["unsure"] for answer in found[:-1]) <= 20
    assert found[-1] == {"label": None, "unsure": None, "probability": None, "probabilities": None}


def test_a_table_gets_a_column_of_its_own_that_no_label_can_be_mistaken_for(least, tmp_path, monkeypatch, capsys):
    folder, _ = least
    source = write_table(tmp_path / "texts.csv", [{"text": text} for text in [*TEXTS, ""]])
    scored(folder, source, tmp_path / "scored.csv", monkeypatch)
    with (tmp_path / "scored.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["text", "label", "unsure", "probability"]
    unsure = [row for row in rows if row["unsure"] == "true"]
    assert unsure
    assert {row["label"] for row in unsure} == {""}
    assert {row["label"] for row in rows if row["unsure"] == "false"} <= set(NAMES)
    assert (rows[-1]["label"], rows[-1]["unsure"], rows[-1]["probability"]) == ("", "", "")
    error = capsys.readouterr().err
    assert "1 of 31 rows have no text and therefore no label" in error
    assert f"{len(unsure)} of 31 rows are unsure and therefore have no label" in error
    scored(folder, source, tmp_path / "scored.parquet", monkeypatch)
    table = pq.read_table(tmp_path / "scored.parquet")
    assert table.column("unsure").to_pylist() == [
        {"true": True, "false": False, "": None}[row["unsure"]] for row in rows
    ]


def test_a_table_that_has_such_a_column_already_is_refused(least, tmp_path, monkeypatch):
    source = write_table(tmp_path / "texts.csv", [{"text": "good", "unsure": "no"}])
    with pytest.raises(UserError, match=r"already has a column 'unsure'; rename the new ones"):
        scored(least[0], source, tmp_path / "scored.csv", monkeypatch)


def test_a_threshold_gives_its_label_from_there_on_with_that_label_s_probability(
    threshold, tmp_path, monkeypatch, capsys
):
    classifier = Classifier(threshold, threads=1)
    found = answers(classifier, TEXTS)
    good = classifier.probabilities(TEXTS)[:, 1]
    assert found.labels == ["good" if probability >= 0.1 else "bad" for probability in good]
    assert found.probability == pytest.approx(np.where(good >= 0.1, good, 1 - good), abs=1e-5)
    assert ((good >= 0.1) & (good < 0.5)).any()  # it changes some answers
    assert "unsure" not in json.loads(answer_lines(classifier, TEXTS[:1]))
    scored(
        threshold,
        write_table(tmp_path / "texts.csv", [{"text": text} for text in TEXTS]),
        tmp_path / "a.csv",
        monkeypatch,
    )
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert "unsure" not in rows[0]
    assert [row["label"] for row in rows] == found.labels
    assert capsys.readouterr().err.count("rows") == 0


def test_sagemaker_s_handler_follows_the_decision(least, threshold):
    folder, middle = least
    found = predict_fn(TEXTS, model_fn(str(folder)))
    for answer in found:
        assert answer["unsure"] == (answer["label"] is None)
        assert answer["score"] == max(answer["probabilities"].values())
        assert answer["unsure"] == (answer["score"] < middle)
    rows = list(csv.reader(output_fn(found, "text/csv")[0].splitlines()))
    assert [row[0] or None for row in rows] == [answer["label"] for answer in found]
    weighed = predict_fn(TEXTS, model_fn(str(threshold)))
    assert [answer["label"] for answer in weighed] == answers(Classifier(threshold, threads=1), TEXTS).labels
    assert all(answer["score"] == answer["probabilities"][answer["label"]] for answer in weighed)
    assert "unsure" not in weighed[0]


def test_a_damaged_decision_stops_the_command_with_one_line(threshold):
    (threshold / DECISION).write_text('{"threshold": {"label": "great", "probability": 0.1}}')
    with pytest.raises(
        UserError, match=r"decision\.json is no decision for the labels bad, good .*; export the model again"
    ):
        Classifier(threshold)
