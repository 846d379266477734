"""Validations as a program reads them that watches a training."""

import pytest

from finetune.training.watched import SCORES_FILE, append_scores, read_scores
from tests.support.fitting import fit


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_each_validation_of_a_training_is_a_line_with_the_epochs_to_come(tiny_bert, tmp_path, engine, monkeypatch):
    path = tmp_path / "scores"
    monkeypatch.setenv(SCORES_FILE, str(path))
    _, training = fit(tmp_path / engine, tiny_bert, engine=engine, epochs=3)
    found = read_scores(path)
    assert [(one["epoch"], one["epochs"]) for one in found] == [(1, 3), (2, 3), (3, 3)]
    assert found[-1]["scores"] == training.progress.scores
    assert set(found[0]["scores"]) == {"accuracy", "f1", "loss"}


def test_without_a_watcher_nothing_is_written(workdir, monkeypatch):
    monkeypatch.delenv(SCORES_FILE, raising=False)
    append_scores(1, 2, {"accuracy": 0.5})
    assert list(workdir.iterdir()) == []
    assert read_scores(workdir / "none") == []


def test_a_line_that_is_being_written_is_left_out(workdir):
    (workdir / "scores").write_text('{"epoch": 1, "epochs": 2, "scores": {"accuracy": 0.5}}\n{"epoch": 2, "ep')
    assert read_scores(workdir / "scores") == [{"epoch": 1, "epochs": 2, "scores": {"accuracy": 0.5}}]
