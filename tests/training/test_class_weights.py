"""Weights of the classes: in both engines the loss of torch, in parts and processes too, and the epoch that they keep."""

import numpy as np
import pytest
import torch

from finetune.base.errors import UserError
from finetune.encoder.batches import TokenRows
from finetune.training.class_weights import class_weights
from finetune.training.fit import Fit
from finetune.training.loader import epoch_loader
from finetune.training.order import LengthBatches
from finetune.training.task import OneLabel, SeveralLabels
from tests.support.fitting import fit, losses, strategy_with, weights_of

BOTH = pytest.mark.parametrize("engine", ["trainer", "loop"])
NAMES = ["common", "rare"]


def test_balanced_weights_by_hand():
    """95 and 5 rows: 100 / (2 * 95) and 100 / (2 * 5), so that both classes weigh 50 in total."""
    labels = np.repeat([0, 1], [95, 5])
    weights = class_weights("balanced", labels, NAMES)
    assert weights == pytest.approx([0.526316, 10.0], abs=1e-6)
    assert weights[0] * 95 == pytest.approx(weights[1] * 5)


def test_balanced_weights_are_those_of_the_classes_that_occur():
    """Six rows of two classes of three: 6 / (2 * 4) and 6 / (2 * 2)."""
    assert class_weights("balanced", np.array([0, 0, 0, 0, 2, 2]), ["a", "b", "c"]).tolist() == [0.75, 1.0, 1.5]


def test_weights_by_name_are_in_id_order_and_1_where_none_is_named():
    assert class_weights({"c": 4.0, "a": 0.5}, np.array([0]), ["a", "b", "c"]).tolist() == [0.5, 1.0, 4.0]
    assert class_weights(None, np.array([0]), NAMES).tolist() == [1.0, 1.0]


def test_a_weight_for_a_label_that_the_data_lack_is_an_error():
    message = r"^train\.class_weights must name labels, which are common, rare, found other$"
    with pytest.raises(UserError, match=message):
        class_weights({"rare": 2.0, "other": 3.0}, np.array([0]), NAMES)


def test_balanced_weights_of_several_labels_by_hand():
    """Four texts; a label that 1, 2 or 3 of them have weighs 3/1, 2/2 or 1/3, and one that none or all have 1."""
    targets = np.array([[1, 1, 1, 0, 1], [0, 1, 1, 0, 1], [0, 0, 1, 0, 1], [0, 0, 0, 0, 1]], np.float32)
    weights = class_weights("balanced", targets, list("abcde"))
    assert weights == pytest.approx([3, 1, 1 / 3, 1, 1])
    assert class_weights({"b": 2.0}, targets, list("abcde")).tolist() == [1, 2, 1, 1, 1]


def test_the_loss_of_several_labels_weighs_the_texts_with_a_label_as_torch_does():
    ids = torch.tensor([[1, 4, 3], [2, 2, 3], [5, 1, 3]])
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    weights = np.array([0.5, 3.0])
    expected = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights, dtype=torch.float32))(
        ids[:, :2].float(), labels
    )
    part = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": labels,
        "weights": torch.full((3,), 1 / 3),
    }
    loss = strategy_with(SeveralLabels(weights)).loss(Scores(), part)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


class Scores(torch.nn.Module):
    """A model whose logits are its first two input ids, as numbers."""

    def forward(self, input_ids, attention_mask):  # noqa: ARG002
        return type("Output", (), {"logits": input_ids[:, :2].float()})


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_loss_of_a_batch_in_parts_and_processes_is_that_of_torch(monkeypatch, count):
    """Seven rows in one batch, cut into parts of two rows; the mean over one, two and three processes is torch's weighted mean."""
    monkeypatch.setattr("finetune.encoder.hardware.CACHED_TOKENS", 6)  # rows of three tokens
    ids = [[1, 4, 3], [2, 2, 3], [5, 1, 3], [1, 1, 3], [3, 4, 3], [6, 2, 3], [2, 7, 3]]
    labels = torch.tensor([0, 1, 0, 0, 1, 0, 0])
    weights = np.array([0.5, 3.0])
    expected = torch.nn.CrossEntropyLoss(torch.tensor(weights, dtype=torch.float32))(
        torch.tensor(ids)[:, :2].float(), labels
    )
    total = []
    for rank in range(count):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(count))
        sampler = LengthBatches(np.full(7, 3), 7, seed=1)
        (batch,) = epoch_loader(TokenRows(ids, 0), {"labels": labels}, weights[labels.numpy()], sampler, seed=1)
        assert len(batch) == {1: 4, 2: 2, 3: 2}[count]  # 7, 4 or 3 rows, also where a process has one row fewer
        total.append(sum(strategy_with(OneLabel()).loss(Scores(), part) for part in batch))
    assert sum(total) / count == pytest.approx(expected.item(), abs=1e-6)


def test_without_weights_a_row_counts_as_one_of_its_batch():
    rows = TokenRows([[1, 2], [3, 4], [5, 6]], 0)
    (batch,) = epoch_loader(
        rows, {"labels": torch.tensor([0, 1, 1])}, np.ones(3), LengthBatches(rows.lengths, 3, 1), seed=1
    )
    (part,) = batch
    assert torch.equal(part["weights"], torch.full((3,), 1 / 3))


def test_the_engines_give_the_same_losses_with_weights_and_others_than_without(tiny_bert, tmp_path):
    weighted = {
        engine: losses(fit(tmp_path / engine, tiny_bert, engine=engine, class_weights={"bad": 0.2, "good": 5.0})[1])
        for engine in ("trainer", "loop")
    }
    plain = losses(fit(tmp_path / "plain", tiny_bert, engine="loop")[1])
    assert np.abs(np.subtract(weighted["trainer"], weighted["loop"])).max() < 1e-4
    assert np.abs(np.subtract(weighted["loop"], plain)).max() > 0.01


@BOTH
def test_a_common_factor_of_the_weights_changes_nothing(tiny_bert, tmp_path, engine):
    """The loss is divided by the weights of its rows: 2 and 2 train the same bytes as none."""
    plain, _ = fit(tmp_path / "plain", tiny_bert, engine=engine, epochs=1)
    doubled, training = fit(
        tmp_path / "doubled", tiny_bert, engine=engine, epochs=1, class_weights={"bad": 2.0, "good": 2.0}
    )
    assert training.task.class_weights.tolist() == [2.0, 2.0]
    assert torch.equal(weights_of(plain), weights_of(doubled))


@BOTH
def test_a_heavier_class_is_answered_more_often(tiny_bert, tmp_path, engine):
    """Few steps at a low rate: the answers still lean to the class that weighs more."""
    answers = {}
    for name in ("bad", "good"):
        changes = {"engine": engine, "epochs": 1, "lr": 1e-4, "class_weights": {name: 50.0}}
        _, training = fit(tmp_path / name, tiny_bert, **changes)
        logits = training.validation_logits(list(range(20)))
        answers[name] = (logits.argmax(1) == 1).mean()
    assert answers["good"] > answers["bad"]


@BOTH
@pytest.mark.parametrize("best", ["accuracy", "f1", "loss"])
def test_the_chosen_score_keeps_its_epoch(tiny_bert, tmp_path, engine, best, monkeypatch):
    """Three epochs with invented validation scores: the first has the best accuracy, the second macro F1, the third loss."""
    scores = iter([(0.9, 0.5, 0.9), (0.8, 0.7, 0.8), (0.7, 0.6, 0.4)])
    monkeypatch.setattr(
        "finetune.training.task.OneLabel.scores",
        lambda *_: dict(zip(("accuracy", "f1", "loss"), next(scores), strict=True)),
    )
    _, training = fit(tmp_path, tiny_bert, engine=engine, best=best)
    assert training.progress.best.epoch == {"accuracy": 1, "f1": 2, "loss": 3}[best]


class Killed(BaseException):
    """Ends a training."""


@BOTH
def test_a_killed_training_with_weights_resumes_to_the_same_bytes(tiny_bert, tmp_path, engine, monkeypatch):
    """5 steps an epoch: killed in the second, with the first as the best epoch so far or not."""
    settings = {"rows": 40, "engine": engine, "class_weights": "balanced", "best": "loss"}
    undisturbed, _ = fit(tmp_path / "undisturbed", tiny_bert, **settings)
    original = Fit.after_step

    def after_step(self, *values):
        original(self, *values)
        if self.progress.step == 8:
            raise Killed

    monkeypatch.setattr("finetune.training.checkpoints.Checkpoints.due", lambda _: True)
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "after_step", after_step)
        with pytest.raises(Killed):
            fit(tmp_path / "killed", tiny_bert, **settings)
    model, training = fit(tmp_path / "killed", tiny_bert, **settings)
    assert training.settings.best == training.progress.chosen_by == "loss"
    assert torch.equal(weights_of(model), weights_of(undisturbed))


def test_lp_ft_starts_its_head_with_the_weights(tiny_bert, tmp_path):
    """No step moves it far at a rate of 1e-9, so the answers are those of the weighted regression."""
    changes = {"strategy": "lp_ft", "epochs": 1, "lr": 1e-9}
    answers = {}
    for name in ("bad", "good"):
        _, training = fit(tmp_path / name, tiny_bert, class_weights={name: 100.0}, **changes)
        answers[name] = (training.validation_logits(list(range(20))).argmax(1) == 1).mean()
    assert answers["good"] > answers["bad"]
