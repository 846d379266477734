"""The layer whose uniform attention gives the head the mean over all tokens."""

import numpy as np
import pytest
import torch

from finetune.encoder.mean_layer import SCALE, read_the_mean
from finetune.encoder.models import bare_encoder, fresh_classifier, save, trained_classifier
from finetune.encoder.prediction import mean_embeddings
from finetune.rows.tokens import load_tokenizer
from tests.support.tiny import FAMILIES, tiny_checkpoint

IDS = [[2, 5, 9, 7, 3], [2, 11, 3], [2, 6, 6, 8, 10, 12, 3]]
WITH_LAYER = ("bert", "roberta", "distilbert", "electra")


@pytest.mark.parametrize("family", [family for family in FAMILIES if family in WITH_LAYER])
def test_the_head_reads_the_normalised_mean_of_the_last_hidden_states(family, tmp_path):
    base = tiny_checkpoint(tmp_path / "base", family)
    layers = bare_encoder(base).config.num_hidden_layers
    expected = torch.as_tensor(mean_embeddings(bare_encoder(base), IDS, 0)) * SCALE
    model = fresh_classifier(base, ["a", "b"], 1, 0.0, mean=True).eval()
    assert model.config.num_hidden_layers == layers + 1
    for row, mean in zip(IDS, expected, strict=True):
        with torch.inference_mode():
            first = bare_encoder(base).eval()(torch.tensor([row])).last_hidden_state[0, 0]
            found = model.base_model(torch.tensor([row])).last_hidden_state[0, 0]
        wanted = torch.nn.functional.layer_norm(mean + first, mean.shape)
        assert (found - wanted).abs().max() < 1e-3
    save(model, load_tokenizer(base), tmp_path / "saved")
    assert trained_classifier(tmp_path / "saved").config.num_hidden_layers == layers + 1


def test_a_family_without_such_layers_stays_as_it_is(tmp_path):
    model = fresh_classifier(tiny_checkpoint(tmp_path, "albert"), ["a", "b"], 1)
    before = model.config.to_dict()
    assert not read_the_mean(model)
    assert model.config.to_dict() == before


def test_modernbert_has_an_option_for_it(tmp_path):
    model = fresh_classifier(tiny_checkpoint(tmp_path, "modernbert"), ["a", "b"], 1, mean=True)
    assert model.config.classifier_pooling == "mean"
    assert np.isfinite(mean_embeddings(model.base_model, IDS, 0)).all()
