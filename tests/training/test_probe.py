"""`lp_ft`: the head starts as a logistic regression, near the zero-shot answer if there are few rows, and all of it trains."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from finetune.base.errors import UserError
from finetune.encoder.models import fresh_classifier, save, trained_classifier
from finetune.encoder.prediction import logits
from finetune.rows.tokens import load_tokenizer
from finetune.training.labelled_rows import labelled_rows
from finetune.training.probe import fit_head, prompt_rows, regression
from finetune.training.task import OneLabel, SeveralLabels
from tests.support.fitting import fit
from tests.support.rows import tokenised
from tests.support.tiny import FAMILIES, reviews, tiny_checkpoint


def blobs(rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Features around one centre for each class."""
    random = np.random.default_rng(0)
    labels = np.arange(rows) % classes
    return random.normal(size=(rows, 5)) + np.eye(5)[labels], labels


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_without_a_prior_it_is_scikit_learns_regression(classes, weighted):
    features, labels = blobs(90, classes)
    class_weights = np.arange(1, classes + 1) / 2 if weighted else np.ones(classes)
    weights, bias = regression(features, labels, 0.7, np.zeros((classes, 5)), OneLabel(class_weights))
    theirs = LogisticRegression(
        C=0.7 if classes > 2 else 1.4, tol=1e-8, class_weight=dict(enumerate(class_weights))
    ).fit(features, labels)
    logit = features @ weights.T + bias
    expected = theirs.decision_function(features)
    found = logit - logit.mean(1, keepdims=True) if classes > 2 else logit[:, 1] - logit[:, 0]
    expected = expected - expected.mean(1, keepdims=True) if classes > 2 else expected
    assert np.abs(found - expected).max() < 1e-3


def test_of_several_labels_each_has_its_own_regression_weighted_where_a_row_has_it():
    features, classes = blobs(90, 3)
    targets = np.column_stack([classes == 0, classes < 2, classes % 2]).astype(np.float32)
    task = SeveralLabels(np.array([1.0, 3.0, 0.5]))
    weights, bias = regression(features, targets, 0.7, np.zeros((3, 5)), task)
    for label, weight in enumerate(task.class_weights):
        theirs = LogisticRegression(C=0.7, tol=1e-8, class_weight={0: 1.0, 1: weight}).fit(features, targets[:, label])
        logit = features @ weights[label] + bias[label]
        assert np.abs(logit - theirs.decision_function(features)).max() < 1e-3


def test_the_prior_decides_where_rows_say_little_and_gives_way_to_many_rows():
    features, labels = blobs(90, 2)
    prior = np.array([[0, 1.0, 0, 0, 0], [1.0, 0, 0, 0, 0]])  # the wrong way round
    task = OneLabel(np.ones(2))
    weak, _ = regression(features, labels, 1e-6, prior, task)
    assert np.abs(weak - prior).max() < 1e-3
    strong, bias = regression(features, labels, 100.0, prior, task)
    assert ((features @ strong.T + bias).argmax(1) == labels).mean() > 0.6


@pytest.mark.parametrize("family", FAMILIES)
def test_the_classifier_answers_as_the_regression_before_its_first_step(family, tmp_path):
    """Only the output layer changes; a random encoder says little about the labels, but more than nothing."""
    base = tiny_checkpoint(tmp_path, family)
    tokenizer = load_tokenizer(base)
    rows = tokenised(tokenizer, reviews(120), ["bad", "good"])
    prompts = prompt_rows(tokenizer, ["bad", "good"], None)
    task, pad_id, labels = OneLabel(np.ones(2)), tokenizer.pad_token_id, np.asarray(rows["label"][:])
    parts, targets = (rows.select(range(90)), rows.select(range(90, 120))), {"labels": torch.tensor(labels[:90])}
    labelled = labelled_rows(*parts, targets, labels[90:], np.ones(90), pad_id, prompts)
    model = fresh_classifier(base, ["bad", "good"], 1, 0.0, mean=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shown = fit_head(model, labelled, "fp32", task)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(value.shape[0] == 2 for name, value in model.state_dict().items() if name in moved)
    answers = logits(model, labelled.train.ids, pad_id)
    assert (answers.argmax(1) == labelled.targets["labels"].numpy()).mean() > 0.6
    # A random encoder gives nearly the same features for all texts: the weights are in the hundreds, and sums in fp32 lose digits.
    assert np.abs(shown - logits(model, labelled.validation.ids, pad_id)).max() < 5e-3


def test_prompts_are_the_label_names_if_there_are_none_and_count_only_if_they_differ(tiny_bert):
    tokenizer = load_tokenizer(tiny_bert)
    named = prompt_rows(tokenizer, ["bad", "good"], None)
    assert named == prompt_rows(tokenizer, ["bad", "good"], {"good": "good", "bad": "bad"})
    assert prompt_rows(tokenizer, ["bad", "good"], {"good": "film", "bad": "film"}) is None
    with pytest.raises(UserError, match=r"^baseline\.zero_shot\.prompts must have one prompt for each of the labels"):
        prompt_rows(tokenizer, ["bad", "good"], {"other": "film"})


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_with_lp_ft_into_a_plain_classifier(family, tmp_path):
    base = tiny_checkpoint(tmp_path / "base", family)
    model, training = fit(tmp_path, base, strategy="lp_ft", epochs=1, lr=0.001)
    assert type(model) is type(fresh_classifier(base, ["bad", "good"], 1))
    assert training.progress.step == 10
    save(model, load_tokenizer(base), tmp_path / "saved")
    ids = [[2, 5, 9, 7, 3], [2, 11, 3]]
    assert np.abs(logits(trained_classifier(tmp_path / "saved"), ids, 0) - logits(model, ids, 0)).max() < 1e-5
