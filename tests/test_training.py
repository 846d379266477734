"""Fine-tuning: optimizer, schedule, the best epoch, curves, and what happens when it diverges."""

import csv
import json

import numpy as np
import pytest
import torch
from dvclive import Live

from finetune import training
from finetune.encoder import fresh_classifier
from finetune.errors import UserError
from finetune.params import Train
from finetune.precision import bf16_gain, chosen_precision
from finetune.rows import label_names
from finetune.tokens import load_tokenizer
from finetune.training import ClassifierTrainer, fine_tune, rank, validation_scores
from tests.project import PARAMS
from tests.rows import tokenised
from tests.tiny import reviews


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return load_tokenizer(tiny_bert)


@pytest.fixture(scope="module")
def rows(tokenizer):
    return tokenised(tokenizer, reviews(100), ["bad", "good"])


def run(model, tokenizer, rows, folder, **changes):
    """`fine_tune` on the first 80 rows, with curves in `folder`."""
    with Live(str(folder), dvcyaml=None, save_dvc_exp=False, report=None) as live:
        settings = Train(**PARAMS["train"] | changes)
        return fine_tune(model, tokenizer, rows.select(range(80)), rows.select(range(80, 100)), settings, "fp32", live)


@pytest.fixture
def trainer_of(monkeypatch):
    """The Trainer that `fine_tune` made, to look at afterwards."""
    made = []

    class Watched(ClassifierTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(training, "ClassifierTrainer", Watched)
    return made


def curve(folder, name) -> list[tuple[int, float]]:
    """Points (step, value) of one curve of DVCLive."""
    with (folder / f"plots/metrics/{name}.tsv").open() as file:
        return [(int(row["step"]), float(row[name.split("/")[-1]])) for row in csv.DictReader(file, delimiter="\t")]


def test_weight_decay_spares_biases_and_norms(tiny_bert, tokenizer, rows, tmp_path, trainer_of):
    model = fresh_classifier(tiny_bert, label_names(rows), 1)
    run(model, tokenizer, rows, tmp_path, epochs=1)
    names = {id(weights): name for name, weights in model.named_parameters()}
    for group in trainer_of[0].optimizer.param_groups:
        spared = [names[id(weights)] for weights in group["params"]]
        assert spared
        is_spared = ["bias" in name or "LayerNorm" in name for name in spared]
        assert all(is_spared) if group["weight_decay"] == 0 else not any(is_spared)


def test_the_learning_rate_rises_and_falls_in_lines(tiny_bert, tokenizer, rows, tmp_path):
    """80 rows in batches of 8, 4 epochs: 40 steps, a tenth of them warmup. The step after the 4th has the full rate."""
    run(fresh_classifier(tiny_bert, label_names(rows), 1), tokenizer, rows, tmp_path, epochs=4, lr=1e-3)
    rates = dict(curve(tmp_path, "train/learning_rate"))
    assert len(rates) == 40
    for step in range(1, 41):
        done = step - 1  # steps before this one
        assert rates[step] == pytest.approx(1e-3 * min(done / 4, (40 - done) / 36), abs=1e-6)


def test_there_are_curves_of_loss_rate_gradient_and_validation(tiny_bert, tokenizer, rows, tmp_path):
    run(fresh_classifier(tiny_bert, label_names(rows), 1), tokenizer, rows, tmp_path, epochs=10)
    loss = [value for _, value in curve(tmp_path, "train/loss")]
    assert loss[-1] < 0.5 * loss[0]
    assert all(np.isfinite(value) for _, value in curve(tmp_path, "train/gradient_norm"))
    assert [step for step, _ in curve(tmp_path, "validation/accuracy")] == list(range(10, 101, 10))
    assert set(json.loads((tmp_path / "metrics.json").read_text())) == {"train", "validation", "step"}


def test_gradients_are_clipped_by_their_norm(tiny_bert, tokenizer, rows, tmp_path, trainer_of):
    run(fresh_classifier(tiny_bert, label_names(rows), 1), tokenizer, rows, tmp_path, epochs=1, max_grad_norm=0.001)
    assert trainer_of[0].args.max_grad_norm == 0.001
    gradients = [weights.grad for weights in trainer_of[0].model.parameters() if weights.grad is not None]
    assert all(gradient.norm() <= 0.0011 for gradient in gradients)


def test_the_best_epoch_is_kept(tiny_bert, tokenizer, rows, tmp_path):
    model = fresh_classifier(tiny_bert, label_names(rows), 1)
    best = run(model, tokenizer, rows, tmp_path, epochs=5)
    accuracies = [value for _, value in curve(tmp_path, "validation/accuracy")]
    losses = [value for _, value in curve(tmp_path, "validation/loss")]
    assert best.epoch == 1 + max(range(5), key=lambda epoch: (accuracies[epoch], -losses[epoch]))
    assert validation_scores(model, rows.select(range(80, 100)), tokenizer.pad_token_id) == best.scores


def test_of_two_epochs_with_the_same_accuracy_the_lower_loss_is_better():
    assert rank({"accuracy": 0.8, "loss": 0.4}) > rank({"accuracy": 0.8, "loss": 0.5})
    assert rank({"accuracy": 0.81, "loss": 0.9}) > rank({"accuracy": 0.8, "loss": 0.5})


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny_bert, tokenizer, rows, tmp_path):
    def weights(seed):
        model = fresh_classifier(tiny_bert, label_names(rows), seed)
        run(model, tokenizer, rows, tmp_path, epochs=1, seed=seed)
        return torch.cat([value.flatten() for value in model.state_dict().values()])

    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


def test_a_loss_that_is_not_finite_stops_with_the_rate_to_lower(tiny_bert, tokenizer, rows, tmp_path):
    model = fresh_classifier(tiny_bert, label_names(rows), 1)
    torch.nn.init.constant_(model.classifier.weight, float("inf"))
    with pytest.raises(
        UserError, match=r"^the loss is (nan|inf) at step 1: training diverged; lower train\.lr, found 0\.003$"
    ):
        run(model, tokenizer, rows, tmp_path)


@pytest.mark.parametrize("setting", ["bf16", "fp32"])
def test_a_precision_that_is_asked_for_is_taken(setting):
    assert chosen_precision(setting) == setting


@pytest.mark.parametrize(("gain", "expected"), [(2.6, "bf16"), (1.51, "bf16"), (1.4, "fp32"), (0.5, "fp32")])
def test_auto_takes_bf16_only_where_it_was_measured_to_be_clearly_faster(monkeypatch, gain, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("finetune.precision.bf16_gain", lambda: gain)
    assert chosen_precision("auto") == expected


def test_the_gain_of_bf16_is_measured():
    assert 0.01 < bf16_gain() < 100
