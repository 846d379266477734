"""Encoders of every family: loaded, fine-tuned and saved, with answers in the order of the rows."""

import json
import shutil
import time

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from finetune.base.errors import UserError
from finetune.base.params_training import Train
from finetune.encoder.batches import TokenRows, padded
from finetune.encoder.first_token import encoder_layers, narrowed
from finetune.encoder.models import bare_encoder, fresh_classifier, save, trained_classifier
from finetune.encoder.prediction import logits, mean_embeddings, predict
from finetune.rows.stored import label_names
from finetune.rows.tokens import encode, load_tokenizer
from finetune.training.checkpoints import Checkpoints
from finetune.training.fine_tune import fine_tune
from tests.support.project import PARAMS
from tests.support.rows import tokenised
from tests.support.tiny import FAMILIES, reviews, tiny_checkpoint


def train_settings(**changes) -> Train:
    return Train(**PARAMS["train"] | changes)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_and_gives_the_same_logits_after_saving(family, tmp_path):
    """Three classes, two epochs: the logits change, and the saved folder has the label names and the same logits."""
    folder = tiny_checkpoint(tmp_path / "base", family)
    tokenizer = load_tokenizer(folder)
    rows = tokenised(tokenizer, reviews(120), ["bad", "good", "neither"])
    train, validation = rows.select(range(90)), rows.select(range(90, 120))
    model = fresh_classifier(folder, label_names(rows), seed=1)
    before = logits(model, validation["input_ids"][:], tokenizer.pad_token_id)
    checkpoints = Checkpoints("key", tmp_path / "checkpoints")
    model, training = fine_tune(
        model, tokenizer, train, validation, train_settings(epochs=2), "fp32", None, checkpoints
    )
    assert training.progress.best.scores["accuracy"] > 0.5
    after = logits(model, validation["input_ids"][:], tokenizer.pad_token_id)
    assert np.abs(after - before).max() > 0.1

    save(model, tokenizer, tmp_path / "saved")
    assert (tmp_path / "saved/model.safetensors").stat().st_mode & 0o777 == 0o644
    loaded = trained_classifier(tmp_path / "saved")
    assert loaded.config.id2label == {0: "bad", 1: "good", 2: "neither"}
    reloaded = logits(loaded, encode(load_tokenizer(tmp_path / "saved"), validation["text"][:]), tokenizer.pad_token_id)
    assert np.abs(reloaded - after).max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_predictions_come_in_the_order_of_the_rows(family, tmp_path):
    """Each row alone, without padding, gives the same logits as in batches by length."""
    folder = tiny_checkpoint(tmp_path, family)
    tokenizer = load_tokenizer(folder)
    ids = encode(tokenizer, [row["text"] for row in reviews(150)])
    model = fresh_classifier(folder, ["a", "b"], seed=1).eval()
    with torch.inference_mode():
        alone = np.concatenate([model(**padded([row], tokenizer.pad_token_id)).logits.numpy() for row in ids])
    assert np.abs(logits(model, ids, tokenizer.pad_token_id) - alone).max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_feeds_the_first_token_forward_alone(family, tmp_path):
    """Same logits as the library's own model. ModernBERT and ALBERT have other layers, which stay unchanged."""
    folder = tiny_checkpoint(tmp_path / "base", family)
    save(fresh_classifier(folder, ["a", "b"], seed=1), load_tokenizer(folder), tmp_path / "saved")
    model = trained_classifier(tmp_path / "saved")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    batch = padded([[2, 5, 9, 7, 3], [2, 11, 3]], 0)
    seen = []
    *_, down = (
        module for module in list(encoder_layers(model.base_model))[-1].modules() if isinstance(module, torch.nn.Linear)
    )
    down.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    with torch.inference_mode():
        assert torch.allclose(model(**batch).logits, plain(**batch).logits, atol=1e-5)
    assert set(seen) == ({5} if family in ("albert", "modernbert") else {1})


def test_a_head_that_averages_tokens_keeps_them_all(tmp_path):
    """Heads such as ModernBERT's can average all tokens; a narrowed layer would leave only one of them."""
    folder = tiny_checkpoint(tmp_path, "distilbert")
    model = fresh_classifier(folder, ["a", "b"], seed=1)
    model.distilbert.transformer.layer[-1].sa_layer_norm._forward_hooks.clear()
    whole = model.distilbert.forward

    def averaged(**batch):
        output = whole(**batch)
        output.last_hidden_state[:, 0] = output.last_hidden_state.mean(1)
        return output

    model.distilbert.forward = averaged
    narrowed(model)
    assert not any(module._forward_hooks for module in model.modules())


def test_predictions_are_bitwise_equal_with_any_number_of_threads(tiny_bert):
    ids = encode(load_tokenizer(tiny_bert), [row["text"] for row in reviews(300)])
    model, cores = fresh_classifier(tiny_bert, ["a", "b"], seed=1), torch.get_num_threads()
    answers = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            answers.append(logits(model, ids, 0))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(cores)
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(answers[0], answers[2])


def test_an_error_in_one_thread_stops_the_others(tiny_bert):
    """300 rows make five batches; one thread fails in the first, the other takes at most one more."""
    rows = TokenRows(encode(load_tokenizer(tiny_bert), [row["text"] for row in reviews(300)]), 0)
    begun, cores = [], torch.get_num_threads()

    def fail_once(output, _batch):
        begun.append(1)
        if len(begun) == 1:
            raise MemoryError
        time.sleep(0.2)
        return output.last_hidden_state[:, 0]

    torch.set_num_threads(2)
    try:
        with pytest.raises(MemoryError):
            predict(bare_encoder(tiny_bert), rows, fail_once, "test")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(cores)
    assert len(begun) <= 3


def test_embeddings_are_means_over_the_tokens_of_each_row(tiny_bert):
    tokenizer = load_tokenizer(tiny_bert)
    ids = encode(tokenizer, ["the film", "a story with an awful plot", "dull"])
    encoder = bare_encoder(tiny_bert).eval()
    with torch.inference_mode():
        alone = [encoder(**padded([row], 0)).last_hidden_state[0].mean(0).numpy() for row in ids]
    assert np.abs(mean_embeddings(encoder, ids, 0) - np.stack(alone)).max() < 1e-5


def test_a_new_head_depends_on_the_seed_alone(tiny_bert):
    heads = [fresh_classifier(tiny_bert, ["a", "b"], seed).classifier.weight for seed in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("labels", [["a", "b"], ["b", "a"], ["x", "y", "z"]])
def test_a_head_that_a_checkpoint_brings_is_never_kept(family, labels, tmp_path):
    """Every weight of the old head is 7; none of the new one is, and the encoder stays as it was."""
    tiny_checkpoint(tmp_path / "encoder", family)
    old = fresh_classifier(tmp_path / "encoder", ["a", "b"], 1)
    prefix = f"{old.base_model_prefix}."
    with torch.no_grad():
        for name, weights in old.named_parameters():
            if not name.startswith(prefix):
                weights.fill_(7)
    save(old, load_tokenizer(tmp_path / "encoder"), tmp_path / "classifier")
    new = fresh_classifier(tmp_path / "classifier", labels, 1)
    before = dict(old.named_parameters())
    assert new.config.id2label == dict(enumerate(labels))
    for name, weights in new.named_parameters():
        if name.startswith(prefix):
            assert torch.equal(weights, before[name]), name
        else:
            assert not (weights == 7).any(), name
    again = fresh_classifier(tmp_path / "classifier", labels, 1)
    assert all(torch.equal(one, other) for one, other in zip(new.parameters(), again.parameters(), strict=True))


def test_a_checkpoint_with_another_number_of_classes_gets_a_new_head(tiny_bert, tmp_path):
    save(fresh_classifier(tiny_bert, ["a", "b", "c"], 1), load_tokenizer(tiny_bert), tmp_path)
    model = fresh_classifier(tmp_path, ["x", "y"], 1)
    assert model.classifier.weight.shape[0] == 2
    assert model.config.id2label == {0: "x", 1: "y"}


def test_a_checkpoint_in_half_precision_is_loaded_in_fp32(tiny_bert, tmp_path):
    bare_encoder(tiny_bert).to(torch.bfloat16).save_pretrained(tmp_path)
    assert {weights.dtype for weights in fresh_classifier(tmp_path, ["a", "b"], 1).parameters()} == {torch.float32}


def test_answers_that_are_not_finite_are_an_error(tiny_bert):
    model = fresh_classifier(tiny_bert, ["a", "b"], 1)
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    with pytest.raises(UserError, match="numbers that are not finite"):
        logits(model, [[2, 5, 3]], 0)


def test_a_folder_without_an_encoder_for_classification_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UserError, match="does not load"):
        fresh_classifier(tmp_path, ["a", "b"], 1)


def test_an_encoder_that_the_library_cannot_build_is_an_error_of_one_line(tiny_bert, tmp_path):
    """A padding token beyond the vocabulary is an assertion inside torch."""
    folder = shutil.copytree(tiny_bert, tmp_path / "encoder")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": 10**9}))
    for load in (lambda folder: fresh_classifier(folder, ["a", "b"], 1), bare_encoder):
        with pytest.raises(UserError, match="does not load .AssertionError: Padding_idx must be within num_embeddings"):
            load(folder)


@pytest.mark.usefixtures("workdir")
def test_a_missing_folder_is_not_looked_up_on_the_hub():
    for load in (trained_classifier, bare_encoder, load_tokenizer):
        with pytest.raises(FileNotFoundError, match="models/finetuned"):
            load("models/finetuned")
