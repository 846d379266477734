"""Encoders of every family: loaded, fine-tuned, saved and asked, with answers in the order of the rows."""

import numpy as np
import pytest
import torch

from finetune.batches import padded
from finetune.encoder import (
    bare_encoder,
    fresh_classifier,
    logits,
    mean_embeddings,
    probabilities,
    save,
    trained_classifier,
)
from finetune.errors import UserError
from finetune.params import Train
from finetune.resume import Checkpoints
from finetune.rows import label_names
from finetune.tokens import encode, load_tokenizer
from finetune.training import fine_tune
from tests.project import PARAMS
from tests.rows import tokenised
from tests.tiny import FAMILIES, reviews, tiny_checkpoint


def train_settings(**changes) -> Train:
    return Train(**PARAMS["train"] | changes)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_and_answers_the_same_after_saving(family, tmp_path):
    """Three classes, two epochs; the loss falls, label names travel, the saved folder gives the same logits."""
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
    found = logits(loaded, encode(load_tokenizer(tmp_path / "saved"), validation["text"][:]), tokenizer.pad_token_id)
    assert np.abs(found - after).max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_predictions_stay_in_row_order_under_bucketing(family, tmp_path):
    """Each row alone, without padding, gives what it gets in batches by length."""
    folder = tiny_checkpoint(tmp_path, family)
    tokenizer = load_tokenizer(folder)
    ids = encode(tokenizer, [row["text"] for row in reviews(150)])
    model = fresh_classifier(folder, ["a", "b"], seed=1).eval()
    with torch.inference_mode():
        alone = np.concatenate([model(**padded([row], tokenizer.pad_token_id)).logits.numpy() for row in ids])
    assert np.abs(logits(model, ids, tokenizer.pad_token_id) - alone).max() < 1e-5


def test_embeddings_are_means_over_the_tokens_of_each_row(tiny_bert):
    tokenizer = load_tokenizer(tiny_bert)
    ids = encode(tokenizer, ["the film", "a story with an awful plot", "dull"])
    encoder = bare_encoder(tiny_bert).eval()
    with torch.inference_mode():
        alone = [encoder(**padded([row], 0)).last_hidden_state[0].mean(0).numpy() for row in ids]
    assert np.abs(mean_embeddings(encoder, ids, 0) - np.stack(alone)).max() < 1e-5


def test_a_fresh_head_depends_on_the_seed_alone(tiny_bert):
    heads = [fresh_classifier(tiny_bert, ["a", "b"], seed).classifier.weight for seed in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_checkpoint_with_another_number_of_classes_gets_a_fresh_head(tiny_bert, tmp_path):
    save(fresh_classifier(tiny_bert, ["a", "b", "c"], 1), load_tokenizer(tiny_bert), tmp_path)
    model = fresh_classifier(tmp_path, ["x", "y"], 1)
    assert model.classifier.weight.shape[0] == 2
    assert model.config.id2label == {0: "x", 1: "y"}


def test_a_checkpoint_in_half_precision_is_trained_in_full(tiny_bert, tmp_path):
    bare_encoder(tiny_bert).to(torch.bfloat16).save_pretrained(tmp_path)
    assert {weights.dtype for weights in fresh_classifier(tmp_path, ["a", "b"], 1).parameters()} == {torch.float32}


def test_probabilities_are_a_softmax():
    """exp(0) = 1 and exp(ln 3) = 3: a quarter and three quarters; large logits do not overflow."""
    found = probabilities(np.array([[0, np.log(3)], [1000, 1000]], np.float32))
    assert found == pytest.approx(np.array([[0.25, 0.75], [0.5, 0.5]]))


def test_answers_that_are_not_finite_are_refused(tiny_bert):
    model = fresh_classifier(tiny_bert, ["a", "b"], 1)
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    with pytest.raises(UserError, match="numbers that are not finite"):
        logits(model, [[2, 5, 3]], 0)


def test_a_folder_that_holds_no_encoder_for_classification_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UserError, match="does not load"):
        fresh_classifier(tmp_path, ["a", "b"], 1)
