"""Token ids: whole, cut, never padded, for every encoder family."""

import doctest
import json
import shutil

import pytest
from transformers import AutoConfig, BertConfig, GPT2Config, PreTrainedTokenizerFast, RobertaConfig

from finetune.base.errors import UserError
from finetune.rows import tokens
from finetune.rows.tokens import (
    SpecialTokens,
    encode,
    ensure_padding,
    load_config,
    load_tokenizer,
    longest_input,
    special_tokens,
    truncate,
)
from tests.support.tiny import FAMILIES, LENGTH, tiny_checkpoint, trained_bpe

TEXTS = ["the film is great", "", "an awful story of a dull actor", "something unknown: x!"]


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(tokens).failed == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_are_those_of_the_library_whatever_was_set_before(family, tmp_path):
    tokenizer = load_tokenizer(tiny_checkpoint(tmp_path, family))
    whole = [tokenizer(text, verbose=False)["input_ids"] for text in TEXTS]
    assert encode(tokenizer, TEXTS) == whole
    tokenizer(TEXTS, padding=True, truncation=True, max_length=4)  # leaves padding and truncation on
    assert encode(tokenizer, TEXTS) == whole


@pytest.mark.parametrize("family", FAMILIES)
def test_head_truncation_matches_the_library(family, tmp_path):
    tokenizer = load_tokenizer(tiny_checkpoint(tmp_path, family))
    special = special_tokens(tokenizer)
    for length in (3, 5, 8):
        cut = [truncate(ids, length, "head", special) for ids in encode(tokenizer, TEXTS)]
        assert cut == tokenizer(TEXTS, truncation=True, max_length=length)["input_ids"]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_takes_as_many_tokens_as_it_has_positions_for(family, tmp_path):
    folder = tiny_checkpoint(tmp_path, family)
    tokenizer = load_tokenizer(folder)
    assert longest_input(AutoConfig.from_pretrained(folder), tokenizer) == LENGTH


def test_head_and_tail_keep_a_quarter_and_three_quarters():
    """Room for 8 of 20 tokens between the special ones: 2 from the start, 6 from the end."""
    ids = [101, *range(20), 102]
    assert truncate(ids, 10, "head_tail", SpecialTokens(1, 1)) == [101, 0, 1, 14, 15, 16, 17, 18, 19, 102]


def test_special_tokens_may_be_on_one_side_only():
    assert truncate([1, 2, 3, 4, 9], 3, "head", SpecialTokens(0, 1)) == [1, 2, 9]
    assert truncate([9, 1, 2, 3, 4], 3, "head_tail", SpecialTokens(1, 0)) == [9, 3, 4]


def test_a_row_that_fits_is_not_changed():
    assert truncate([101, 5, 102], 3, "head_tail", SpecialTokens(1, 1)) == [101, 5, 102]


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(UserError, match="does not load"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("tokenizer.json", []),
        ("tokenizer.json", {"model": None}),
        ("tokenizer.json", {"model": {"type": "WordPiece", "vocab": {}, "unk_token": "[UNK]"}}),
        ("tokenizer.json", {"model": {"type": "WordPiece", "vocab": {"[UNK]": -5}, "unk_token": "[UNK]"}}),
        ("tokenizer_config.json", {"model_max_length": "x"}),
        ("tokenizer_config.json", {"pad_token": 7}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": 5}}),
    ],
)
def test_a_value_that_the_library_chokes_on_ends_in_one_line(tiny_bert, tmp_path, file, changes):
    folder = shutil.copytree(tiny_bert, tmp_path / "{encoder}")
    content = json.loads((folder / file).read_text()) | changes if changes else changes
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match="does not load|model_max_length") as caught:
        load_tokenizer(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("id2label", []), ("dtype", "evil"), ("quantization_config", "x")])
def test_a_config_that_the_library_chokes_on_ends_in_one_line(tiny_bert, tmp_path, key, value):
    folder = shutil.copytree(tiny_bert, tmp_path / "encoder")
    content = json.loads((folder / "config.json").read_text()) | {key: value}
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="config.json describes no model that transformers .* knows"):
        load_config(folder)


def padded_by(token: str | None) -> PreTrainedTokenizerFast:
    """Byte-level tokenizer with the tokens [END], [PAD] and the words of the reviews; `token` pads."""
    return PreTrainedTokenizerFast(tokenizer_object=trained_bpe(["[END]", "[PAD]"]), pad_token=token)


@pytest.mark.parametrize(
    ("token", "config", "message"),
    [
        ("[PAD]", BertConfig(), None),
        ("[PAD]", BertConfig(pad_token_id=None), None),
        ("[PAD]", RobertaConfig(pad_token_id=1), None),
        ("[END]", GPT2Config(pad_token_id=0), None),
        (
            "[PAD]",
            RobertaConfig(pad_token_id=0),
            r"pads with '\[PAD\]', id 1, but config\.json .* names the pad_token_id 0",
        ),
        ("[PAD]", RobertaConfig(pad_token_id=None), "names the pad_token_id None"),
        ("[PAD]", GPT2Config(pad_token_id=None), "names the pad_token_id None"),
        ("[PAD]", GPT2Config(pad_token_id=0), "names the pad_token_id 0"),
        ("[PAD]", BertConfig(vocab_size=1), "the tokenizer gives the token id 1, but the encoder's vocab_size is 1"),
        (None, GPT2Config(pad_token_id=0), "has no padding token"),
        (None, GPT2Config(pad_token_id=None), "has no padding token"),
    ],
)
def test_the_padding_token_must_be_one_that_the_encoder_knows(token, config, message):
    """GPT-2 finds the last token of a text by it, RoBERTa counts positions from it; BERT needs the attention mask alone."""
    if message is None:
        ensure_padding(padded_by(token), config)
    else:
        with pytest.raises(UserError, match=message):
            ensure_padding(padded_by(token), config)


def test_the_padding_token_that_only_the_config_names_is_taken():
    tokenizer = padded_by(None)
    ensure_padding(tokenizer, GPT2Config(pad_token_id=1))
    assert tokenizer.pad_token_id == 1
