"""ONNX files: they answer as the torch model does, for every family, any batch and any length, and hold what a caller needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from finetune.base.errors import UserError
from finetune.encoder.models import fresh_classifier, save, trained_classifier
from finetune.encoder.prediction import logits
from finetune.export import onnx_files as to_onnx
from finetune.export.onnx_files import fp32_onnx
from finetune.rows.tokens import load_tokenizer
from finetune.runtime.classifier import FP32, INT8, Classifier, padded
from tests.conftest import ROOT
from tests.support.fitting import fit
from tests.support.random_export import NAMES, facts, random_export
from tests.support.tiny import FAMILIES, LENGTH

TEMPERATURE = 1.7
LENGTHS = (1, 2, 3, 7, 31, LENGTH)


@pytest.fixture(scope="module", params=FAMILIES)
def shipped(request, tmp_path_factory) -> Path:
    """The exported folder of each family, for texts as long as the encoder takes; not to be changed."""
    return random_export(tmp_path_factory.mktemp("onnx") / request.param, request.param, TEMPERATURE, max_length=LENGTH)


@pytest.fixture(scope="module")
def rows() -> list[list[int]]:
    """Three rows of each length, of tokens that are not special."""
    chance = np.random.default_rng(0)
    return [chance.integers(6, 30, length).tolist() for length in LENGTHS for _ in range(3)]


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def test_any_batch_of_any_length_gets_the_torch_model_s_logits(shipped, rows):
    tokenizer = load_tokenizer(shipped)
    expected = logits(trained_classifier(shipped), rows, tokenizer.pad_token_id)
    found = session(shipped / FP32)

    def of(batch):
        return found.run(["logits"], padded(batch, tokenizer.pad_token_id))[0]

    assert expected.std(0).min() > 0.1  # the rows differ
    # All in one batch, so that most of them are padded; and each alone.
    np.testing.assert_allclose(of(rows), expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.concatenate([of([row]) for row in rows]), expected, rtol=0, atol=1e-4)


def test_int8_is_close_and_does_not_depend_on_the_rest_of_the_batch(shipped, rows):
    pad_id = load_tokenizer(shipped).pad_token_id
    exact, found = session(shipped / FP32), session(shipped / INT8)
    inputs = padded(rows, pad_id)
    whole = found.run(["logits"], inputs)[0]
    expected = exact.run(["logits"], inputs)[0]
    assert np.abs(whole - expected).mean() < 0.05 * expected.std()
    last = [rows[-1], *rows[-3:]]
    several = found.run(["logits"], padded(last, pad_id))[0]
    assert np.array_equal(several[0], several[-1])
    assert np.array_equal(several[1:], whole[-3:])


def test_probabilities_are_those_of_the_logits_over_the_temperature(shipped, rows):
    for file in (FP32, INT8):
        raw, probabilities = session(shipped / file).run(["logits", "probabilities"], padded(rows, 0))
        powers = np.exp(raw.astype(np.float64) / TEMPERATURE)
        np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), rtol=0, atol=1e-6)


def test_the_files_hold_what_a_caller_must_know_and_no_path_of_this_machine(shipped):
    tokenizer = load_tokenizer(shipped)
    for file in (FP32, INT8):
        model = onnx.load(shipped / file)
        held = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
        assert held == facts(tokenizer, NAMES, TEMPERATURE, "head") | {"special_tokens": [1, 1]}
        assert [value.name for value in model.graph.input] == ["input_ids", "attention_mask"]
        assert [value.name for value in model.graph.output] == ["logits", "probabilities"]
        content = (shipped / file).read_bytes()
        traces = (
            b"stack_trace",
            b"site-packages",
            b"/modeling_",
            b"pkg.torch",
            str(ROOT).encode(),
            str(shipped.parent).encode(),
        )
        assert [trace for trace in traces if trace in content] == []
        assert "差评".encode() in content


def test_every_product_with_a_weight_matrix_is_in_int8(shipped):
    model = onnx.load(shipped / INT8)
    weights = {tensor.name for tensor in model.graph.initializer}
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMulNBits") >= 8
    left = [node.name for node in model.graph.node if node.op_type == "MatMul" and set(node.input) & weights]
    assert left == []


def test_the_same_model_gives_the_same_bytes_in_every_process(tmp_path):
    script = "import sys; from pathlib import Path; from tests.support.random_export import random_export; random_export(Path(sys.argv[1]))"
    command = [sys.executable, "-c", script, tmp_path / "there"]
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True)
    here = random_export(tmp_path / "here")
    for file in (FP32, INT8):
        assert (tmp_path / "there" / file).read_bytes() == (here / file).read_bytes()


def test_a_model_trained_with_adapters_is_exported_as_it_answers(tmp_path, tiny_bert):
    """Adapters are merged into the weights they adapt before a model is saved."""
    model, _ = fit(tmp_path, tiny_bert, strategy="lora", epochs=1, lr=0.05)
    tokenizer = load_tokenizer(tiny_bert)
    save(model, tokenizer, tmp_path / "saved")
    rows = [[2, 5, 9, 7, 3], [2, 11, 3], [2, 6, 6, 8, 10, 12, 3]]
    whole = fp32_onnx(
        trained_classifier(tmp_path / "saved").cpu(),
        1.0,
        facts(tokenizer, ["bad", "good"], 1.0, "head"),
    )
    assert "lora" not in str(sorted(tensor.name for tensor in whole.graph.initializer)).lower()
    (tmp_path / "saved" / FP32).parent.mkdir()
    onnx.save(whole, tmp_path / "saved" / FP32)
    found = Classifier(tmp_path / "saved", threads=1).answer(rows, "logits")
    np.testing.assert_allclose(found, logits(model, rows, tokenizer.pad_token_id), rtol=0, atol=1e-4)


def test_a_model_that_no_onnx_file_can_hold_is_refused_in_one_line(tiny_bert, monkeypatch):
    """The tiny model has 0.07 MB of weights; here a file holds 0.05."""
    monkeypatch.setattr(to_onnx, "LARGEST", 50_000)
    with pytest.raises(
        UserError, match=r"^the model has \d MB of weights; an ONNX file holds at most 0 MB: name a smaller"
    ):
        to_onnx.fp32_onnx(fresh_classifier(tiny_bert, NAMES, seed=0), 1.0, {})


def test_a_model_with_fused_attention_gives_the_same_graph(tiny_bert):
    """As on a machine with a GPU, where the fused kernel is the faster one."""
    graphs = []
    for attention in ("eager", "sdpa"):
        model = fresh_classifier(tiny_bert, NAMES, seed=1)
        model.set_attn_implementation(attention)
        graphs.append(fp32_onnx(model.cpu(), TEMPERATURE, {}).SerializeToString())
    assert graphs[0] == graphs[1]
