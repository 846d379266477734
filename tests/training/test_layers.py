"""The weights that each strategy trains, on every family of encoders, and the plain classifier it returns."""

import numpy as np
import pytest
import torch

from finetune.base.errors import UserError
from finetune.base.params_training import Train
from finetune.encoder.batches import FeatureRows, TokenRows
from finetune.encoder.models import fresh_classifier, save, trained_classifier
from finetune.encoder.prediction import logits, predict
from finetune.rows.tokens import load_tokenizer
from finetune.training.adapters import with_adapters
from finetune.training.frozen_encoder import FeaturesAsEncoder, encoder_features
from finetune.training.layers import LayerSchedule, blocks, parameter_groups
from finetune.training.task import OneLabel
from tests.support.fitting import fit, strategy_with
from tests.support.project import PARAMS
from tests.support.tiny import FAMILIES, tiny_checkpoint

IDS = [[2, 5, 9, 7, 3], [2, 11, 3], [2, 6, 6, 8, 10, 12, 3]]


def settings(**changes) -> Train:
    return Train(**PARAMS["train"] | changes)


def trained_blocks(model, schedule: LayerSchedule, step: int) -> list[bool]:
    """Whether each block trains in a step, from the bottom up."""
    schedule.apply(step)
    return [all(weights.requires_grad for weights in block) for block in blocks(model)]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_blocks_are_embeddings_each_layer_and_the_head(family, tmp_path):
    model = fresh_classifier(tiny_checkpoint(tmp_path, family), ["a", "b"], 1)
    parts = blocks(model)
    assert len(parts) == (3 if family == "albert" else 4)  # ALBERT's two layers share their weights
    assert sum(len(block) for block in parts) == len(list(model.parameters()))
    names = {id(weights): name for name, weights in model.named_parameters()}
    assert all("embed" in names[id(weights)] for weights in parts[0])
    assert any("classifier" in names[id(weights)] for weights in parts[-1])
    assert not any("layer" in names[id(weights)].replace("LayerNorm", "") for weights in parts[-1])


def test_each_layer_has_the_rate_of_the_one_above_times_the_decay(tiny_bert):
    """lr 0.1, decay 0.5: head 0.1, layer 2 0.05, layer 1 0.025, embeddings 0.0125."""
    model = fresh_classifier(tiny_bert, ["a", "b"], 1)
    rates = {}
    for group in parameter_groups(strategy_with(OneLabel(), lr=0.1, layer_decay=0.5).rates(model), 0.01):
        rates |= {id(weights): group["lr"] for weights in group["params"]}
    by_name = {name: rates[id(weights)] for name, weights in model.named_parameters()}
    assert by_name["classifier.weight"] == by_name["bert.pooler.dense.bias"] == 0.1
    assert by_name["bert.encoder.layer.1.output.dense.weight"] == 0.05
    assert by_name["bert.encoder.layer.0.attention.self.query.bias"] == 0.025
    assert by_name["bert.embeddings.word_embeddings.weight"] == 0.0125


@pytest.mark.parametrize(("name", "expected"), [("full", 0.5), ("gradual", 0.5), ("head", 0.1), ("lora", 0.1)])
def test_the_head_has_its_own_rate_if_the_encoder_trains_too(tiny_bert, name, expected):
    """lr 0.1, factor 5: head 0.5, layers 0.1, and the curves show the layers' rate. If the head trains alone, its rate is `lr`."""
    model = fresh_classifier(tiny_bert, ["a", "b"], 1)
    groups = parameter_groups(strategy_with(OneLabel(), strategy=name, lr=0.1, head_factor=5.0).rates(model), 0.01)
    rates = {id(weights): group["lr"] for group in groups for weights in group["params"]}
    assert rates[id(model.classifier.weight)] == rates[id(model.bert.pooler.dense.bias)] == expected
    assert rates[id(model.bert.encoder.layer[1].output.dense.weight)] == 0.1
    assert groups[0]["lr"] == 0.1


def test_frozen_embeddings_stay_as_they_were_pretrained(tiny_bert, tmp_path):
    model, training = fit(tmp_path, tiny_bert, freeze_embeddings=True)
    before = fresh_classifier(tiny_bert, ["bad", "good"], 42).state_dict()
    changed = {name: not torch.equal(value, before[name]) for name, value in model.state_dict().items()}
    assert not any(moved for name, moved in changed.items() if "embeddings" in name)
    assert changed["bert.encoder.layer.0.output.dense.weight"]
    frozen = sum(value.numel() for name, value in model.named_parameters() if "embeddings" in name)
    assert training.trained_count == sum(value.numel() for value in model.parameters()) - frozen


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_on_features_gives_the_logits_of_the_whole_classifier(family, tmp_path):
    model = fresh_classifier(tiny_checkpoint(tmp_path / "base", family), ["a", "b", "c"], 1)
    whole = logits(model, IDS, 0)
    features = encoder_features(model, TokenRows(IDS, 0), "fp32", tmp_path / "features")
    setattr(model, model.base_model_prefix, FeaturesAsEncoder(model.base_model))
    from_features = predict(model, FeatureRows(features), lambda output, _: output.logits, "test")
    assert np.abs(from_features - whole).max() < 1e-5


def test_modernbert_with_mean_pooling_has_features_too(tmp_path):
    model = fresh_classifier(tiny_checkpoint(tmp_path / "base", "modernbert"), ["a", "b"], 1)
    model.config.classifier_pooling = "mean"
    whole = logits(model, IDS, 0)
    features = encoder_features(model, TokenRows(IDS, 0), "fp32", tmp_path / "features")
    setattr(model, model.base_model_prefix, FeaturesAsEncoder(model.base_model))
    from_features = predict(model, FeatureRows(features), lambda output, _: output.logits, "test")
    assert np.abs(from_features - whole).max() < 1e-5


def test_features_are_computed_once(tiny_bert, tmp_path, monkeypatch):
    fit(tmp_path, tiny_bert, strategy="head", lr=0.01)
    monkeypatch.setattr(
        "finetune.training.frozen_encoder.predict", lambda *_, **__: pytest.fail("the encoder ran again")
    )
    with pytest.raises(pytest.fail.Exception):
        fit(tmp_path / "elsewhere", tiny_bert, strategy="head", lr=0.02)
    fit(tmp_path, tiny_bert, strategy="head", lr=0.02)


def test_other_rows_and_another_encoder_have_their_own_features(tiny_bert, tmp_path):
    model = fresh_classifier(tiny_bert, ["a", "b"], 1)
    first = encoder_features(model, TokenRows(IDS, 0), "fp32", tmp_path / "features")
    assert not np.array_equal(first[:2], encoder_features(model, TokenRows(IDS[1:], 0), "fp32", tmp_path))
    with torch.no_grad():
        model.bert.embeddings.LayerNorm.bias += 1
    assert not np.array_equal(first, encoder_features(model, TokenRows(IDS, 0), "fp32", tmp_path))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("strategy", ["head", "gradual", "lora"])
def test_every_family_trains_with_every_strategy_into_a_plain_classifier(family, strategy, tmp_path):
    base = tiny_checkpoint(tmp_path / "base", family)
    before = fresh_classifier(base, ["bad", "good"], 42).state_dict()
    model, training = fit(tmp_path, base, strategy=strategy, epochs=1, lr=0.01)
    assert set(model.state_dict()) == set(before)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    layers = {name for name in before if any(part.isdigit() for part in name.split("."))}
    assert any("classifier" in name for name in moved)
    assert bool(moved & layers) == (strategy != "head")
    total = sum(weights.numel() for weights in model.parameters())
    assert (training.trained_count == total) == (strategy == "gradual")
    save(model, load_tokenizer(base), tmp_path / "saved")
    assert np.abs(logits(trained_classifier(tmp_path / "saved"), IDS, 0) - logits(model, IDS, 0)).max() < 1e-5


def test_layers_unfreeze_one_by_one_from_the_top(tiny_bert):
    """4 blocks, 80 steps, all unfrozen after half of them: one more block every 10 steps."""
    model = fresh_classifier(tiny_bert, ["a", "b"], 1)
    schedule = LayerSchedule(model, steps=80, unfrozen_after=0.5)
    assert schedule.starts == [0, 10, 20, 30]
    assert schedule.ends == [80, 80, 80, 80]
    assert trained_blocks(model, schedule, 9) == [False, False, False, True]
    assert trained_blocks(model, schedule, 10) == [False, False, True, True]
    assert trained_blocks(model, schedule, 29) == [False, True, True, True]
    assert trained_blocks(model, schedule, 79) == [True, True, True, True]
    # Also backwards, as after a checkpoint is loaded.
    assert trained_blocks(model, schedule, 0) == [False, False, False, True]


def test_layers_freeze_one_by_one_from_the_bottom(tiny_bert):
    """4 blocks, 90 steps, the lowest frozen from half of them on, one more every 15 steps, the head never."""
    model = fresh_classifier(tiny_bert, ["a", "b"], 1)
    schedule = strategy_with(OneLabel(), frozen_from=0.5).schedule(model, 90)
    assert schedule.starts == [0, 0, 0, 0]
    assert schedule.ends == [90, 75, 60, 45]
    assert trained_blocks(model, schedule, 44) == [True, True, True, True]
    assert trained_blocks(model, schedule, 45) == [False, True, True, True]
    assert trained_blocks(model, schedule, 74) == [False, False, True, True]
    assert trained_blocks(model, schedule, 89) == [False, False, False, True]
    assert strategy_with(OneLabel(), frozen_from=1.0).schedule(model, 90) is None
    assert strategy_with(OneLabel(), strategy="lora", frozen_from=0.5).schedule(model, 90) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_layer_keeps_its_weights_while_those_above_learn(family, tmp_path):
    """The lowest block is frozen from the first step on, and the head trains to the end."""
    base = tiny_checkpoint(tmp_path / "base", family)
    lowest, *_, head = blocks(fresh_classifier(base, ["bad", "good"], 42))
    model, _ = fit(tmp_path, base, frozen_from=0.001, epochs=1)
    after_lowest, *_, after_head = blocks(model)
    assert all(torch.equal(after, before) for after, before in zip(after_lowest, lowest, strict=True))
    assert not any(torch.equal(after, before) for after, before in zip(after_head, head, strict=True))


def test_the_best_epoch_of_gradual_training_is_restored_completely(tiny_bert, tmp_path, monkeypatch):
    """If the first epoch is the best, layers that were still frozen in it must not keep their later weights."""
    monkeypatch.setattr("finetune.training.progress.sort_key", lambda *_: 0)
    model, training = fit(tmp_path, tiny_bert, strategy="gradual", unfrozen_after=1.0)
    assert training.progress.best.epoch == 1
    before = fresh_classifier(tiny_bert, ["bad", "good"], 42).state_dict()
    assert torch.equal(
        model.state_dict()["bert.embeddings.word_embeddings.weight"], before["bert.embeddings.word_embeddings.weight"]
    )


def test_adapters_go_only_into_the_targets(tiny_bert):
    """Rank 4 on query and value (32 to 32) of 2 layers: 2 * 2 * (4 * 32 + 32 * 4) weights, and the head's."""
    model = fresh_classifier(tiny_bert, ["a", "b"], 1)
    adapted = with_adapters(model, settings(lora={"rank": 4, "alpha": 8, "targets": ["query", "value"]}))
    trained = {name: weights.numel() for name, weights in adapted.named_parameters() if weights.requires_grad}
    assert sum(count for name, count in trained.items() if "lora_" in name) == 1024
    assert sum(count for name, count in trained.items() if "lora_" not in name) == (32 * 32 + 32) + (32 * 2 + 2)


def test_an_unknown_target_is_an_error_that_lists_the_known_ones(tiny_bert):
    model = fresh_classifier(tiny_bert, ["a", "b"], 1)
    with pytest.raises(
        UserError,
        match=r"^train\.lora\.targets must name linear layers of this encoder, which are dense, key, query, value; "
        r"found q_lin$",
    ):
        with_adapters(model, settings(lora={"rank": 4, "alpha": 8, "targets": ["query", "q_lin"]}))
