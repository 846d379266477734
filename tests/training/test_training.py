"""Fine-tuning with both engines: optimizer, schedule, best epoch, curves, precision, early stops and errors."""

import json
import math

import numpy as np
import pytest
import torch

from finetune.base.errors import UserError
from finetune.base.params_training import Train
from finetune.encoder.models import fresh_classifier
from finetune.encoder.prediction import logits
from finetune.rows.tokens import load_tokenizer
from finetune.training.progress import sort_key
from finetune.training.task import OneLabel
from tests.support import fitting
from tests.support.fitting import curve, fit, losses, weights_of
from tests.support.project import PARAMS
from tests.support.rows import tokenised
from tests.support.tiny import reviews

BOTH = pytest.mark.parametrize("engine", ["trainer", "loop"])


@pytest.mark.parametrize(
    ("strategy", "frozen_from"), [("full", 1.0), ("full", 0.3), ("head", 1.0), ("lora", 1.0), ("gradual", 1.0)]
)
def test_the_engines_give_the_same_loss_at_every_step_and_the_same_predictions(
    tiny_bert, tmp_path, strategy, frozen_from
):
    results = {}
    for engine in ("trainer", "loop"):
        settings = {"engine": engine, "strategy": strategy, "frozen_from": frozen_from}
        model, training = fit(tmp_path / engine, tiny_bert, **settings)
        results[engine] = losses(training), logits(model, [[2, 5, 9, 3], [2, 11, 3]], 0)
    assert len(results["loop"][0]) == 30  # 80 rows in batches of 8, 3 epochs
    assert np.abs(np.subtract(results["trainer"][0], results["loop"][0])).max() < 1e-4
    assert np.abs(results["trainer"][1] - results["loop"][1]).max() < 1e-4


@BOTH
def test_a_batch_in_parts_gives_the_loss_and_the_weights_of_the_whole(tiny_bert, tmp_path, engine, monkeypatch):
    """Batches of 8 rows of 5 to 28 tokens, in parts of at most 40 tokens."""
    whole, training = fit(tmp_path / "whole", tiny_bert, engine=engine, dropout=0.0, epochs=1)
    assert {len(batch) for batch in training.loader()} == {1}
    monkeypatch.setattr("finetune.encoder.hardware.CACHED_TOKENS", 40)
    cut, in_parts = fit(tmp_path / "parts", tiny_bert, engine=engine, dropout=0.0, epochs=1)
    for batch in in_parts.loader():
        assert len(batch) > 1
        assert sum(len(part["labels"]) for part in batch) == 8
        assert all(part["input_ids"].numel() <= 40 for part in batch)
        assert sum(part["weights"].sum() for part in batch) == pytest.approx(1.0)
    assert np.abs(np.subtract(losses(training), losses(in_parts))).max() < 1e-5
    assert (weights_of(whole) - weights_of(cut)).abs().max() < 1e-3


def test_biases_and_norms_have_no_weight_decay(tiny_bert, tmp_path):
    _, training = fit(tmp_path, tiny_bert, epochs=1)
    names = {id(weights): name for name, weights in training.model.named_parameters()}
    count = 0
    for group in training.optimizer.param_groups:
        members = [names[id(weights)] for weights in group["params"]]
        count += len(members)
        has_no_decay = ["bias" in name or "LayerNorm" in name for name in members]
        assert all(has_no_decay) if group["weight_decay"] == 0 else not any(has_no_decay)
    assert count == len(names)


@BOTH
def test_the_learning_rate_rises_and_falls_linearly(tiny_bert, tmp_path, engine):
    """80 rows in batches of 8, 4 epochs: 40 steps, a tenth of them warmup, so the step after the 4th has the full rate."""
    fit(tmp_path, tiny_bert, engine=engine, epochs=4, lr=1e-3)
    rates = dict(curve(tmp_path, "train/learning_rate"))
    assert len(rates) == 40
    for step in range(1, 41):
        done = step - 1  # steps before this one
        assert rates[step] == pytest.approx(1e-3 * min(done / 4, (40 - done) / 36), abs=1e-6)


@BOTH
@pytest.mark.parametrize(("most", "steps", "validated"), [(13, 13, [10, 13]), (10, 10, [10]), (99, 30, [10, 20, 30])])
def test_training_ends_after_the_most_steps_with_a_validation(tiny_bert, tmp_path, engine, most, steps, validated):
    """10 steps an epoch, 3 epochs; the rate rises for a tenth of the steps that are made and falls to the last of them."""
    _, training = fit(tmp_path, tiny_bert, engine=engine, max_steps=most, lr=1e-3)
    assert (training.progress.step, training.progress.epoch) == (steps, len(validated))
    assert [step for step, _ in curve(tmp_path, "validation/accuracy")] == validated
    rates, warmup = dict(curve(tmp_path, "train/learning_rate")), math.ceil(steps / 10)
    for step in range(1, steps + 1):
        done = step - 1
        assert rates[step] == pytest.approx(1e-3 * min(done / warmup, (steps - done) / (steps - warmup)), abs=1e-6)


def test_the_engines_make_the_same_steps_up_to_the_most(tiny_bert, tmp_path):
    trainer, loop = (
        losses(fit(tmp_path / name, tiny_bert, engine=name, max_steps=13)[1]) for name in ("trainer", "loop")
    )
    assert len(loop) == 13
    assert np.abs(np.subtract(trainer, loop)).max() < 1e-4


@BOTH
def test_there_are_curves_of_loss_rate_gradient_and_validation(tiny_bert, tmp_path, engine):
    fit(tmp_path, tiny_bert, engine=engine, epochs=10)
    loss = [value for _, value in curve(tmp_path, "train/loss")]
    assert loss[-1] < 0.5 * loss[0]
    assert all(np.isfinite(value) for _, value in curve(tmp_path, "train/gradient_norm"))
    assert [step for step, _ in curve(tmp_path, "validation/accuracy")] == list(range(10, 101, 10))
    assert set(json.loads((tmp_path / "live/metrics.json").read_text())) == {"train", "validation", "step"}


@BOTH
def test_gradients_are_clipped_by_their_norm(tiny_bert, tmp_path, engine):
    _, training = fit(tmp_path, tiny_bert, engine=engine, epochs=1, max_grad_norm=0.001)
    # Adam's first moment averages the gradients after clipping.
    moments = [state["exp_avg"] for state in training.optimizer.state.values()]
    assert moments
    assert all(moment.norm() <= 0.0011 for moment in moments)
    assert max(value for _, value in curve(tmp_path, "train/gradient_norm")) > 0.1  # the norm before clipping


@BOTH
def test_the_best_epoch_is_kept(tiny_bert, tmp_path, engine):
    model, training = fit(tmp_path, tiny_bert, engine=engine, epochs=5)
    best = training.progress.best
    accuracies = [value for _, value in curve(tmp_path, "validation/accuracy")]
    validation_losses = [value for _, value in curve(tmp_path, "validation/loss")]
    assert best.epoch == 1 + max(range(5), key=lambda epoch: (accuracies[epoch], -validation_losses[epoch]))
    tokenizer = load_tokenizer(tiny_bert)
    rows = tokenised(tokenizer, reviews(100), ["bad", "good"]).select(range(80, 100))
    answers = logits(model, rows["input_ids"][:], tokenizer.pad_token_id)
    assert OneLabel().scores(np.asarray(rows["label"][:]), answers) == pytest.approx(best.scores, abs=1e-6)


def test_the_named_score_chooses_the_epoch_and_the_lower_loss_decides_a_tie():
    """Epoch a has the best accuracy, b the best macro F1, c the lowest loss; d is a with a higher loss."""
    epochs = {
        "a": {"accuracy": 0.81, "f1": 0.5, "loss": 0.9},
        "b": {"accuracy": 0.79, "f1": 0.7, "loss": 0.8},
        "c": {"accuracy": 0.78, "f1": 0.6, "loss": 0.4},
        "d": {"accuracy": 0.81, "f1": 0.5, "loss": 1.0},
    }
    best = {score: max(epochs, key=lambda name: sort_key(epochs[name], score)) for score in ("accuracy", "f1", "loss")}
    assert best == {"accuracy": "a", "f1": "b", "loss": "c"}


@BOTH
def test_training_ends_after_patience_epochs_without_improvement(tiny_bert, tmp_path, engine):
    """At a rate of 1e-9 training soon stops improving; with patience 2 it ends two epochs after the best one."""
    _, training = fit(tmp_path, tiny_bert, engine=engine, epochs=20, lr=1e-9, dropout=0.0, patience=2)
    epochs = training.progress.epoch
    assert epochs == training.progress.best.epoch + 2
    assert epochs < 20
    assert training.progress.step == 10 * epochs


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny_bert, tmp_path):
    first, again, other = (
        weights_of(fit(tmp_path / str(index), tiny_bert, epochs=1, seed=seed)[0])
        for index, seed in enumerate((1, 1, 2))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@BOTH
def test_a_loss_that_is_not_finite_is_an_error_that_asks_for_a_lower_rate(tiny_bert, tmp_path, engine, monkeypatch):
    def infinite_weights(*arguments, **options):
        model = fresh_classifier(*arguments, **options)
        torch.nn.init.constant_(model.classifier.weight, float("inf"))
        return model

    monkeypatch.setattr(fitting, "fresh_classifier", infinite_weights)
    with pytest.raises(
        UserError, match=r"^the loss is (nan|inf) at step 1: training diverged; lower train\.lr, found 0\.003$"
    ):
        fit(tmp_path, tiny_bert, engine=engine)


def test_a_batch_larger_than_the_data_is_an_error(tiny_bert, tmp_path):
    with pytest.raises(UserError, match=r"^train\.batch_size must be at most 80, the training rows, found 81$"):
        fit(tmp_path, tiny_bert, batch_size=81)


@BOTH
def test_out_of_memory_is_an_error_that_says_what_to_lower(tiny_bert, tmp_path, engine, monkeypatch):
    def too_large(*_):
        # A real allocation that fails: no machine has 2**60 bytes.
        return torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr("finetune.training.strategies.Strategy.loss", too_large)
    with pytest.raises(UserError, match=r"^out of memory with batches of 8 rows; lower train\.batch_size or"):
        fit(tmp_path, tiny_bert, engine=engine)


@BOTH
def test_bf16_computes_in_bf16_and_keeps_weights_in_fp32(tiny_bert, tmp_path, engine):
    model, training = fit(tmp_path / "bf16", tiny_bert, precision="bf16", engine=engine, epochs=1)
    exact = losses(fit(tmp_path / "fp32", tiny_bert, engine=engine, epochs=1)[1])
    assert {weights.dtype for weights in model.parameters()} == {torch.float32}
    difference = np.abs(np.subtract(losses(training), exact))
    assert 0 < difference[0] < 0.01  # 8 bits of mantissa


def test_dropout_of_the_encoder_can_be_replaced(tiny_bert, tmp_path):
    model, _ = fit(tmp_path, tiny_bert, epochs=1, dropout=0.0)
    assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob == 0.0
    assert all(module.p == 0 for module in model.modules() if isinstance(module, torch.nn.Dropout))
    kept, _ = fit(tmp_path / "kept", tiny_bert, epochs=1, dropout=None)
    assert kept.config.hidden_dropout_prob == 0.1


def test_the_tests_set_every_parameter():
    assert set(PARAMS["train"]) == set(Train.model_fields)


@BOTH
def test_epochs_are_repeated_until_there_are_min_steps(tiny_bert, tmp_path, engine):
    """80 rows in batches of 8 are 10 steps: 85 of them take 9 epochs, validated after each second one and the last."""
    _, training = fit(tmp_path, tiny_bert, engine=engine, epochs=2, min_steps=85)
    assert (training.progress.step, training.progress.epoch) == (90, 9)
    validated = [step for step, _ in curve(tmp_path, "validation/accuracy")]
    assert validated == [20, 40, 60, 80, 90]
    assert training.progress.best.epoch in (2, 4, 6, 8, 9)
    rates = dict(curve(tmp_path, "train/learning_rate"))
    assert rates[10] == pytest.approx(0.003, abs=1e-6)  # a tenth of all steps is warmup: 9, then the full rate


@BOTH
def test_fewer_min_steps_than_epochs_give_change_nothing(tiny_bert, tmp_path, engine):
    plain, training = fit(tmp_path / "plain", tiny_bert, engine=engine, epochs=3)
    same, repeated = fit(tmp_path / "same", tiny_bert, engine=engine, epochs=3, min_steps=30)
    assert torch.equal(weights_of(plain), weights_of(same))
    assert losses(training) == losses(repeated)


@BOTH
def test_with_repeated_epochs_patience_counts_validations(tiny_bert, tmp_path, engine):
    """20 epochs, validated after each fourth; at a rate of 1e-9 nothing improves after the first few."""
    changes = {"lr": 1e-9, "dropout": 0.0, "epochs": 1, "min_steps": 200, "patience": 1}
    _, training = fit(tmp_path, tiny_bert, engine=engine, **changes)
    assert training.progress.epoch == training.progress.best.epoch + 4 < 20
