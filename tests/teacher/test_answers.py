"""A teacher: any fine-tuned classifier with the same labels, with its own tokenizer; anything else is refused in one line."""

import json
import shutil

import pytest

from finetune.base.errors import UserError
from finetune.encoder.models import fresh_classifier, save
from finetune.rows.tokens import load_tokenizer
from finetune.teacher.answers import load_teacher
from tests.support.tiny import tiny_checkpoint

LABELS = ["bad", "fair", "good"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A tiny RoBERTa classifier with three labels in another order; do not write to it."""
    base = tiny_checkpoint(tmp_path_factory.mktemp("base") / "roberta", "roberta")
    folder = tmp_path_factory.mktemp("teacher") / "teacher"
    save(fresh_classifier(base, ["good", "bad", "fair"], seed=0), load_tokenizer(base), folder)
    return folder


def refusal(uri, folder, labels=LABELS) -> str:
    with pytest.raises(UserError) as error:
        load_teacher(str(uri), labels, folder)
    message = str(error.value)
    assert "\n" not in message
    return message


def changed(teacher, tmp_path, name="config.json", **changes):
    copy = shutil.copytree(teacher, tmp_path / "changed")
    values = json.loads((copy / name).read_text()) | changes
    (copy / name).write_text(json.dumps(values))
    return copy


def test_labels_are_found_by_name(teacher, tmp_path):
    loaded = load_teacher(str(teacher), LABELS, tmp_path)
    assert loaded.order == [1, 2, 0]  # of good, bad, fair
    assert loaded.max_length == 64
    assert set(loaded.pin) == {"sha256"}


@pytest.mark.parametrize("labels", [["bad", "good"], ["bad", "fair", "good", "odd"], ["bad", "fair", "fine"]])
def test_a_teacher_with_other_labels_is_refused(teacher, tmp_path, labels):
    assert refusal(teacher, tmp_path, labels) == (
        f"train.teacher: it must have the labels of the data, {', '.join(labels)}, found good, bad, fair; "
        "name them alike in data.labels, or correct id2label in its config.json"
    )


def test_a_teacher_with_one_name_for_two_labels_is_refused(teacher, tmp_path):
    copy = changed(teacher, tmp_path, id2label={"0": "good", "1": "bad", "2": "bad"})
    assert "found good, bad, bad; " in refusal(copy, tmp_path, ["bad", "good"])


def test_a_teacher_for_several_labels_a_text_is_refused(teacher, tmp_path):
    copy = changed(teacher, tmp_path, problem_type="multi_label_classification")
    assert "must give one label to each text, found the problem_type 'multi_label_classification'" in refusal(
        copy, tmp_path
    )


def test_an_encoder_without_a_trained_head_is_no_teacher(tmp_path):
    base = tiny_checkpoint(tmp_path / "bert")
    message = refusal(base, tmp_path, ["LABEL_0", "LABEL_1"])
    assert message.startswith(
        f"train.teacher: the model of {base} is no fine-tuned classifier: its weights have no classifier.weight"
    )


def test_a_missing_path_a_file_and_an_empty_folder_are_refused(tmp_path):
    missing = tmp_path / "none"
    assert refusal(missing, tmp_path) == (
        f"train.teacher: {missing} does not exist; put the file there or correct the uri in params.yaml"
    )
    file = tmp_path / "teacher.bin"
    file.write_bytes(b"weights")
    assert refusal(file, tmp_path) == (
        f"train.teacher: {file} must be a folder with a config, a tokenizer and weights, found a file"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refusal(empty, tmp_path) == (
        f"train.teacher: {empty} has no config.json, so it is not a Hugging Face model folder"
    )


def test_a_teacher_that_brings_code_is_refused_under_its_own_parameter(teacher, tmp_path):
    copy = changed(teacher, tmp_path, auto_map={"AutoModel": "modeling.Model"})
    message = refusal(copy, tmp_path)
    assert message.startswith(f"train.teacher: {copy} brings code of its own")
    assert "model.uri" not in message


def test_damaged_weights_are_refused(teacher, tmp_path):
    copy = changed(teacher, tmp_path)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "model.safetensors is damaged or missing" in refusal(copy, tmp_path)
