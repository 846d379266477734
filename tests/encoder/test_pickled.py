"""Pickled weights are read as data: no function that a pickle names is called."""

import os

import pytest
import torch
from transformers import BertConfig

from finetune.base.errors import UserError
from finetune.encoder.models import bare_encoder
from finetune.sources.model_folder import check_checkpoint


class Evil:
    """Unpickled in the usual way, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickled_weights_that_would_run_code_end_in_one_line(tmp_path):
    sizes = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
        "vocab_size": 2,
    }
    folder = tmp_path / "checkpoint"
    BertConfig(**sizes).save_pretrained(folder)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n")
    torch.save({"weight": Evil(tmp_path / "ran")}, folder / "pytorch_model.bin")
    check_checkpoint(folder, "URI")
    with pytest.raises(UserError, match=r"does not load \(UnpicklingError: Weights only") as caught:
        bare_encoder(folder)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "ran").is_dir()  # so the file above was an attack
