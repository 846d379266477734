"""Distillation: the loss by hand, and a student that learns from a teacher what its labels get wrong."""

import numpy as np
import pytest
import torch

from finetune.base.params_training import Train
from finetune.training.distillation import distilled
from finetune.training.task import OneLabel, SeveralLabels
from tests.support.fitting import fit, losses, weights_of
from tests.support.project import PARAMS
from tests.support.tiny import reviews

TRAIN = PARAMS["train"]


@pytest.mark.parametrize(
    ("weight", "temperature", "expected"),
    [(0.0, 1.0, 1.3863), (0.5, 1.0, 0.7651), (1.0, 1.0, 0.1438), (0.25, 2.0, 1.0770)],
)
def test_the_loss_mixes_cross_entropy_with_the_divergence_from_the_teacher(weight, temperature, expected):
    """Student (1/4, 3/4), label 0: cross-entropy ln 4 = 1.3863. Teacher (1/2, 1/2): divergence (ln 2 + ln 2/3) / 2 = 0.1438.

    At temperature 2 the student is (0.3660, 0.6340), the divergence 0.0373, times 4 0.1493; 0.75 * 1.3863 + 0.25 * 0.1493 = 1.0770.
    """
    settings = Train(**TRAIN | {"teacher_weight": weight, "teacher_temperature": temperature})
    logits = torch.log(torch.tensor([[1.0, 3.0]]))
    task = OneLabel()
    soft = task.soft_labels(np.zeros((1, 2), np.float32), temperature)
    assert distilled(torch.log(torch.tensor([4.0])), logits, soft, settings, task).tolist() == pytest.approx(
        [expected], abs=1e-4
    )


def test_soft_labels_are_probabilities_at_the_temperature():
    """Odds of 9 to 1 have the square root, 3 to 1, at temperature 2; any number of classes."""
    assert OneLabel().soft_labels(np.log([[9.0, 1.0]]), 2.0).tolist() == [pytest.approx([0.75, 0.25])]
    assert OneLabel().soft_labels(np.log([[4.0, 4.0, 1.0]]), 2.0).tolist() == [pytest.approx([0.4, 0.4, 0.2])]
    assert SeveralLabels().soft_labels(np.log([[9.0, 1.0]]), 2.0).tolist() == [pytest.approx([0.75, 0.5])]


def test_of_several_labels_each_diverges_on_its_own():
    """Student 1/4 and 1/2, teacher 1/2 and 1/2: (ln 2 + ln 2/3) / 2 = 0.1438 for the first, 0 for the second; 0.0719 on average."""
    task = SeveralLabels()
    soft = task.soft_labels(np.zeros((1, 2), np.float32), 1.0)
    logits = torch.log(torch.tensor([[1 / 3, 1.0]]))
    assert task.divergence(logits, soft).tolist() == pytest.approx([0.0719], abs=1e-4)
    logits.requires_grad_(True)
    task.divergence(logits, soft).sum().backward()
    assert logits.grad[0].tolist() == pytest.approx([(0.25 - 0.5) / 2, 0.0], abs=1e-6)


def sure(rows: int) -> np.ndarray:
    """Logits of a teacher that knows the label of each of these reviews."""
    good = np.array([row["label"] == "good" for row in reviews(rows)])
    return np.where(good[:, None], [[0.0, 4.0]], [[4.0, 0.0]]).astype(np.float32)


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_a_student_learns_from_its_teacher_what_its_labels_get_wrong(tiny_bert, tmp_path, engine):
    """Four labels of ten are wrong; the teacher knows better."""
    scores = {}
    for name, teacher in (("labels", None), ("teacher", sure(200))):
        _, training = fit(
            tmp_path / name, tiny_bert, rows=200, wrong=80, teacher=teacher, engine=engine, epochs=6, teacher_weight=0.8
        )
        scores[name] = training.progress.best.scores["accuracy"]
    assert scores["teacher"] >= 0.9
    assert scores["labels"] <= scores["teacher"] - 0.15


@pytest.mark.parametrize("strategy", ["full", "head", "lora", "lp_ft"])
def test_the_engines_give_the_same_losses_with_a_teacher(tiny_bert, tmp_path, strategy):
    settings = {"strategy": strategy, "teacher": sure(80)}
    trainer, loop = (
        losses(fit(tmp_path / name, tiny_bert, engine=name, **settings)[1]) for name in ("trainer", "loop")
    )
    assert len(loop) == 30
    assert np.abs(np.subtract(trainer, loop)).max() < 1e-4


def test_without_a_share_for_the_teacher_only_the_labels_count(tiny_bert, tmp_path):
    plain, _ = fit(tmp_path / "plain", tiny_bert, engine="loop", epochs=1)
    ignored, _ = fit(tmp_path / "ignored", tiny_bert, engine="loop", epochs=1, teacher=sure(80), teacher_weight=0.0)
    assert torch.equal(weights_of(plain), weights_of(ignored))
