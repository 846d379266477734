"""The exported model in an application: no torch, answers independent of the batch, mistakes in one line."""

import doctest
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from finetune.base.errors import UserError
from finetune.encoder.models import trained_classifier
from finetune.encoder.prediction import logits
from finetune.rows.tokens import SpecialTokens, encode, load_tokenizer, truncate
from finetune.runtime import classifier
from finetune.runtime.classifier import FP32, INT8, Classifier, padded
from tests.support.random_export import NAMES
from tests.support.tiny import reviews

TEXTS = [row["text"] for row in reviews(80, seed=3)]


@pytest.fixture
def copied(shipped, tmp_path) -> Path:
    """A copy of it to damage."""
    return shutil.copytree(shipped, tmp_path / "copy")


def test_the_example_in_the_docstring_holds():
    assert doctest.testmod(classifier).failed == 0


def test_labels_and_limits_come_from_the_model_file(shipped):
    found = Classifier(shipped)
    assert found.labels == NAMES
    assert (found.temperature, found.max_length, found.truncation) == (1.7, 12, "head_tail")
    assert found.special == SpecialTokens(1, 1)
    assert found.model == INT8
    assert Classifier(shipped, FP32).model == FP32


def test_without_an_int8_model_the_other_one_answers(copied):
    (copied / INT8).unlink()
    assert Classifier(copied).model == FP32


def test_texts_are_cut_as_in_training(shipped):
    tokenizer = load_tokenizer(shipped)
    whole = encode(tokenizer, TEXTS)
    assert max(map(len, whole)) > 12
    cut = [truncate(ids, 12, "head_tail", SpecialTokens(1, 1)) for ids in whole]
    assert Classifier(shipped).encode(TEXTS) == cut
    expected = logits(trained_classifier(shipped), cut, tokenizer.pad_token_id)
    np.testing.assert_allclose(Classifier(shipped, FP32).answer(cut, "logits"), expected, rtol=0, atol=1e-4)


def test_an_answer_depends_on_its_text_alone(shipped):
    """To the last bit, in batches, alone, in the opposite order and from several threads at once."""
    found = Classifier(shipped, threads=2)
    together = found.probabilities(TEXTS)
    assert len(set(together.argmax(1).tolist())) > 1
    assert np.array_equal(together, np.concatenate([found.probabilities([text]) for text in TEXTS]))
    assert np.array_equal(together, found.probabilities(TEXTS[::-1])[::-1])
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(found.probabilities, [TEXTS[start : start + 10] for start in range(0, 80, 10)]))
    assert np.array_equal(together, np.concatenate(parts))


def test_no_texts_get_no_answers(shipped):
    found = Classifier(shipped).probabilities([])
    assert found.shape == (0, 3)


def test_short_rows_are_filled_up_and_masked():
    found = padded([[2, 5, 3], [2]], pad_id=9)
    assert found["input_ids"].tolist() == [[2, 5, 3], [2, 9, 9]]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_it_loads_neither_torch_nor_transformers(shipped):
    script = (
        "import sys; from finetune.runtime.classifier import Classifier; Classifier(sys.argv[1]).probabilities(['good']);"
        "print([name for name in ('torch', 'transformers', 'pyarrow', 'onnx', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, shipped], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def cut_short(path: Path):
    path.write_bytes(path.read_bytes()[:1000])


def without_metadata(path: Path):
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("tokenizer.json", Path.unlink, "tokenizer.json is missing; expected a folder that `dvc repro export` wrote"),
        ("tokenizer.json", cut_short, "tokenizer.json is damaged ("),
        (INT8, cut_short, "onnx/model_int8.onnx does not load ("),
        (INT8, without_metadata, "onnx/model_int8.onnx has no labels in its metadata; it was not written by"),
    ],
)
def test_a_damaged_folder_is_reported_in_one_line(copied, file, damage, message):
    damage(copied / file)
    with pytest.raises(UserError) as caught:
        Classifier(copied)
    assert str(caught.value).startswith(f"{copied}/{message}")
    assert "\n" not in str(caught.value)


def test_a_missing_model_is_named(copied):
    (copied / INT8).unlink()
    (copied / FP32).unlink()
    with pytest.raises(UserError, match=r"onnx/model\.onnx is missing"):
        Classifier(copied)
