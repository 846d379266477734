"""`contrastive`: pairs of rows train the encoder, and the head is a logistic regression on what it reads."""

import numpy as np
import pytest
import torch

from finetune.encoder.batches import TokenRows
from finetune.encoder.models import fresh_classifier, output_layer, save, trained_classifier
from finetune.encoder.prediction import logits, pooled, predict
from finetune.rows.tokens import load_tokenizer
from finetune.training.contrast import pair_loss, representations
from tests.support.fitting import fit, losses, weights_of
from tests.support.tiny import FAMILIES, tiny_checkpoint

ROWS = [[2, 5, 9, 7, 3], [2, 11, 3], [2, 8, 6, 3]]


def loss_of(texts: list[list[float]], labels: list[int], weights: list[float]) -> float:
    return float(pair_loss(torch.tensor(texts), torch.tensor(labels), torch.tensor(weights)))


def test_the_loss_of_three_rows_worked_out_by_hand():
    """Cosines 0 (rows 1 and 2), 1 (1 and 3) and 0 (2 and 3). Rows 1 and 2 have the same label, so their error is 1, and the
    other errors are 1 and 0. The length of a vector does not count."""
    texts, labels = [[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]], [0, 0, 1]
    assert loss_of(texts, labels, [1.0, 1.0, 1.0]) == pytest.approx((1 + (1 + 0) / 2) / 2)
    # The pairs with different labels weigh 1 * 4 and 2 * 4.
    assert loss_of(texts, labels, [1.0, 2.0, 4.0]) == pytest.approx((1 + (4 * 1 + 8 * 0) / 12) / 2)


def test_the_loss_of_one_kind_of_pairs_and_of_no_pair():
    texts = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    assert loss_of(texts, [1, 1, 1], [1.0, 1.0, 1.0]) == pytest.approx((1 + 2 * (1 - 0.5**0.5) ** 2) / 3)
    assert loss_of(texts, [0, 1, 2], [1.0, 1.0, 1.0]) == pytest.approx((0 + 2 * 0.5) / 3)
    assert loss_of(texts, [0, 0, 1], [0.0, 0.0, 0.0]) == 0  # a part that stands in for rows that there are not
    single = torch.tensor([[1.0, 2.0]], requires_grad=True)
    pair_loss(single, torch.tensor([0]), torch.tensor([1.0])).backward()
    assert torch.equal(single.grad, torch.zeros(1, 2))


@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_are_compared_by_what_the_head_reads(family, tmp_path):
    """In every family: the last hidden state of the first token, or the mean of all where the head takes the mean."""
    model = fresh_classifier(tiny_checkpoint(tmp_path, family), ["bad", "good"], 1, 0.0, mean=True).eval()
    part = TokenRows(ROWS, 0).batch(range(3))
    with torch.no_grad():
        found = representations(model, model(**part, output_hidden_states=True), part)

    def first_token(output, _):
        return output.last_hidden_state[:, 0]

    read = pooled if family == "modernbert" else first_token
    assert np.abs(found.numpy() - predict(model.base_model, TokenRows(ROWS, 0), read, "test")).max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_into_a_plain_classifier_whose_head_is_fitted_to_its_encoder(family, tmp_path):
    base = tiny_checkpoint(tmp_path / "base", family)
    before = fresh_classifier(base, ["bad", "good"], 42, 0.0, mean=True)
    model, training = fit(tmp_path, base, strategy="contrastive", epochs=1, lr=0.001, freeze_embeddings=True)
    assert type(model) is type(before)
    assert all(weights.requires_grad for weights in model.parameters())
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before.state_dict()[name])}
    head = output_layer(before, 2).removesuffix("weight")
    assert {name for name in moved if name.startswith(head)}
    assert {name for name in moved if "layer" in name}
    assert not {name for name in moved if "embeddings" in name or "pooler" in name or "pre_classifier" in name}
    assert training.trained_count < sum(weights.numel() for weights in model.parameters())
    fitted = {name: value.clone() for name, value in model.state_dict().items()}
    training.strategy.refit(training.model, training.rows)  # the same regression on the same encoder
    assert all(torch.equal(value, fitted[name]) for name, value in model.state_dict().items())
    save(model, load_tokenizer(base), tmp_path / "saved")
    assert np.abs(logits(trained_classifier(tmp_path / "saved"), ROWS, 0) - logits(model, ROWS, 0)).max() < 1e-5


@pytest.mark.parametrize("windows", [False, True], ids=["rows", "windows"])
def test_validation_scores_the_answers_of_the_classifier_that_is_kept(windows, tiny_bert, tmp_path):
    """They come from the regression, which has the inputs of the head already; documents have the mean over their windows."""
    model, training = fit(tmp_path, tiny_bert, strategy="contrastive", epochs=1, windows=windows)
    assert training.model is model
    shown = training.validation_logits(list(range(20)))
    assert shown.shape == (20, 2)
    scores = training.task.scores(training.validation_targets, shown)
    assert training.progress.best.scores == pytest.approx(scores, abs=1e-3)


def test_texts_with_the_same_label_move_together_and_others_apart(tiny_bert, tmp_path):
    _, training = fit(tmp_path, tiny_bert, strategy="contrastive", epochs=6, lr=0.003)
    found = losses(training)
    assert np.mean(found[-10:]) < 0.5 * np.mean(found[:10])
    assert training.progress.best.scores["accuracy"] >= 0.9  # two words in each review give its label away


def test_the_engines_train_the_same_encoder_on_pairs(tiny_bert, tmp_path):
    results = {}
    for engine in ("trainer", "loop"):
        settings = {"engine": engine, "strategy": "contrastive", "class_weights": {"bad": 3.0, "good": 1.0}}
        model, training = fit(tmp_path / engine, tiny_bert, **settings)
        results[engine] = losses(training), weights_of(model)
    assert np.abs(np.subtract(results["trainer"][0], results["loop"][0])).max() < 1e-4
    assert (results["trainer"][1] - results["loop"][1]).abs().max() < 1e-2


def test_a_part_of_a_batch_has_a_pair_however_long_its_rows_are(tiny_bert, tmp_path, monkeypatch):
    """Batches of 8 rows; a processor would take one row at a time, and one row has no pair."""
    monkeypatch.setattr("finetune.encoder.hardware.CACHED_TOKENS", 1)
    _, training = fit(tmp_path, tiny_bert, strategy="contrastive", epochs=1)
    assert [[len(part["labels"]) for part in batch] for batch in training.loader()] == [[2, 2, 2, 2]] * 10
    assert min(losses(training)) > 0
