"""The stage `teach` through real `dvc`: it labels once, costs nothing without a teacher, and its student resumes bit by bit."""

import json
import shutil
import signal

import pyarrow.parquet as pq
import pytest

from finetune.encoder.models import save
from finetune.rows.tokens import load_tokenizer
from tests.support.fitting import fit
from tests.support.project import Project
from tests.support.tiny import tiny_checkpoint
from tests.training.test_interrupted import contents, steps_done, stopped_when


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A project after `dvc repro train` with a teacher of another vocabulary, in data/local/teacher; do not change it."""
    folder = tmp_path_factory.mktemp("taught")
    base = tiny_checkpoint(folder / "roberta", "roberta")
    model, _ = fit(folder, base, rows=400, epochs=4)
    model.config.id2label = {0: "negative", 1: "positive"}
    project = Project.create(folder / "project")
    save(model, load_tokenizer(base), project.folder / "data/local/teacher")
    project.set_params({"train.teacher": "data/local/teacher", "train.epochs": 3})
    project.output = project.dvc("repro", "train").stdout
    return project


@pytest.fixture
def student(taught, tmp_path):
    """A copy of the taught project, which a test may change."""
    return taught.copy(tmp_path / "project")


def test_the_teacher_labels_every_training_row_with_its_own_tokenizer(taught):
    answers = pq.read_table(taught.folder / "data/teacher/train.parquet").to_pydict()
    rows = pq.read_table(taught.folder / "data/tokenized/train.parquet").to_pydict()
    assert answers["row"] == rows["row"]
    right = [(good > bad) == label for (bad, good), label in zip(answers["logits"], rows["label"], strict=True)]
    assert sum(right) >= 0.9 * len(right)
    source = json.loads(taught.read("data/teacher/source.json"))
    assert source["uri"] == "data/local/teacher"
    assert len(source["sha256"]) == 64
    assert source["accuracy"] >= 0.9
    assert f"teach: answers of data/local/teacher for {len(right)} training rows; " in taught.output
    assert json.loads(taught.read("metrics/detail/train/train.json"))["teacher"] == source


def test_another_rate_weight_or_temperature_trains_again_without_asking_the_teacher(student):
    student.set_params({"train.lr": 0.002, "train.teacher_weight": 0.8, "train.teacher_temperature": 4.0})
    assert student.ran(student.dvc("repro", "train").stdout) == ["train"]


def test_without_a_teacher_the_stage_stores_nothing_and_the_student_learns_from_the_labels(student):
    """And the teacher's answers come back from the cache with the teacher."""
    with_teacher = contents(student)
    student.set_param("train.teacher", None)
    assert student.ran(student.dvc("repro", "train").stdout) == ["teach", "train"]
    assert [path.name for path in (student.folder / "data/teacher").iterdir()] == ["source.json"]
    assert "teacher" not in student.read("metrics/detail/train/train.json")
    assert "teacher" not in student.read("models/finetuned/training.json")
    weights = "models/finetuned/model.safetensors"
    assert contents(student)[weights] != with_teacher[weights]
    student.set_param("train.teacher", "data/local/teacher")
    assert student.ran(student.dvc("repro", "train").stdout) == []
    assert contents(student) == with_teacher


def test_a_killed_student_resumes_and_ends_with_the_same_bytes(student):
    expected = contents(student)
    shutil.rmtree(student.folder / "checkpoints")  # that of the finished training
    (student.folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Eager:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'finetune.training.fit':\n"
        "            import finetune.training.checkpoints as r; r.SECONDS = 0; r.SHARE = 1e9\n"
        "sys.meta_path.insert(0, Eager())\n",
        encoding="utf-8",
    )
    command = ("dvc", "repro", "--single-item", "--force", "train")
    stopped_when(student, lambda: steps_done(student) >= 5, signal.SIGKILL, whole_group=True, command=command)
    assert "resumes from step" in student.run(*command).stdout
    assert contents(student) == expected


def test_a_teacher_with_other_labels_ends_in_one_line(student):
    config = student.folder / "data/local/teacher/config.json"
    config.write_text(config.read_text().replace("negative", "rotten"))
    failed = student.dvc("repro", "train", check=False)
    assert failed.returncode != 0
    output = failed.stdout + failed.stderr
    assert (
        "error: train.teacher: it must have the labels of the data, negative, positive, found rotten, positive; "
        in output
    )
    assert "Traceback" not in output


def test_answers_for_other_rows_are_refused_by_a_stage_that_runs_alone(student):
    path = student.folder / "data/teacher/train.parquet"
    table = pq.read_table(path)
    path.unlink()  # a link into DVC's cache
    pq.write_table(table.slice(1), path)
    failed = student.run("python", "-m", "stages.train", check=False)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        "error: data/teacher/train.parquet must hold the teacher's answers for the rows of data/tokenized/train.parquet, "
        "found those for other rows; run `dvc repro teach`"
    )
