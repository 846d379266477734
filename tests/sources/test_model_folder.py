"""A pretrained model's folder: incomplete ones are refused, and only the needed files are copied."""

import json
import os
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from finetune.base.errors import UserError
from finetune.sources.model_folder import check_checkpoint, copy_checkpoint, weight_files

SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = "model.safetensors.index.json"


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with a config, a tokenizer and a single weight file."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n")
    save_file({"weight": np.zeros(100, np.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def sharded(checkpoint):
    """The same with its weights in two files."""
    shutil.copy(checkpoint / "model.safetensors", checkpoint / SHARDS[0])
    (checkpoint / "model.safetensors").rename(checkpoint / SHARDS[1])
    (checkpoint / INDEX).write_text(json.dumps({"weight_map": {"b": SHARDS[1], "a": SHARDS[0], "c": SHARDS[0]}}))
    return checkpoint


def refusal(folder) -> str:
    with pytest.raises(UserError) as caught:
        check_checkpoint(folder, "URI")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_complete_checkpoint_passes(checkpoint):
    check_checkpoint(checkpoint, "URI")
    assert weight_files(checkpoint) == [checkpoint / "model.safetensors"]


def test_a_complete_checkpoint_in_shards_passes(sharded):
    check_checkpoint(sharded, "URI")
    assert weight_files(sharded) == [sharded / name for name in SHARDS]


def test_pickled_weights_pass_if_there_are_no_others(checkpoint):
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    check_checkpoint(checkpoint, "URI")
    assert weight_files(checkpoint) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "URI has no config.json, so it is not a Hugging Face model folder"),
        ("vocab.txt", "URI has no tokenizer; expected one of tokenizer.json, vocab.txt"),
        ("model.safetensors", "URI has no weights; expected one of model.safetensors"),
    ],
)
def test_a_missing_part_is_named(checkpoint, name, message):
    (checkpoint / name).unlink()
    assert refusal(checkpoint).startswith(message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{", "URI: config.json is not JSON (Expecting"),
        ("config.json", b"\xff", "URI: config.json is not JSON ('utf-8' codec"),
        ("config.json", b"[" * 100_000, "URI: config.json is not JSON ("),
        (INDEX, b'{"a":' * 100_000, f"URI: {INDEX} is not JSON ("),
        (SHARDS[0], (2**62).to_bytes(8, "little") + b"{}", f"URI: {SHARDS[0]} is damaged or missing ("),
        ("config.json", b"[]", "URI: config.json must hold a JSON object, found a list"),
        (INDEX, b"{", f"URI: {INDEX} is not JSON ("),
        (INDEX, b"{}", f"URI: {INDEX} has no weight_map; get the model again"),
        (SHARDS[0], b"version https://git-lfs.github.com/spec/v1\n", f"URI: {SHARDS[0]} is damaged or missing ("),
    ],
)
def test_a_damaged_part_is_named(sharded, name, content, message):
    (sharded / name).write_bytes(content)
    assert refusal(sharded).startswith(message)


@pytest.mark.parametrize(
    "shard",
    [
        "../evil.safetensors",
        "/etc/evil.safetensors",
        "a/../../evil.safetensors",
        "..",
        "",
        3,
        None,
        ["x"],
        {"a": 1},
        "model.bin",
        "sub/model.safetensors",
        "a\\..\\evil.safetensors",
        "x\x00.safetensors",
    ],
)
def test_an_index_that_points_elsewhere_is_refused(sharded, shard):
    """Otherwise the file that it names would be read from, and written to, a place outside the model's folder."""
    (sharded / INDEX).write_text(json.dumps({"weight_map": {"a": SHARDS[0], "b": shard}}))
    assert refusal(sharded).startswith(f"URI: {INDEX} must name safetensors files of its own folder, found ")


@pytest.mark.parametrize("weight_map", [[], "x", 1, None, {}])
def test_an_index_without_shards_is_refused(sharded, weight_map):
    (sharded / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    assert refusal(sharded) == f"URI: {INDEX} has no weight_map; get the model again"


def test_weights_that_were_cut_short_are_reported(checkpoint):
    """400 bytes of numbers follow the header; the last byte is missing."""
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert refusal(checkpoint).startswith("URI: model.safetensors is damaged or missing (")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_shard_that_is_no_file_is_refused_and_not_waited_for(sharded, make):
    (sharded / SHARDS[1]).unlink()
    make(sharded / SHARDS[1])
    assert refusal(sharded) == f"URI: {SHARDS[1]} is no file; get the model again"


def test_a_missing_shard_is_named(sharded):
    (sharded / SHARDS[1]).unlink()
    assert refusal(sharded).startswith(f"URI: {SHARDS[1]} is damaged or missing (")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "config.json",
            '{"model_type": "new", "auto_map": {"AutoModel": "modeling_new.New"}}',
            "config.json has auto_map",
        ),
        ("config.json", '{"custom_pipelines": {"text-classification": {}}}', "config.json has custom_pipelines"),
        (
            "tokenizer_config.json",
            '{"auto_map": {"AutoTokenizer": ["t.T", null]}}',
            "tokenizer_config.json has auto_map",
        ),
        ("modeling_new.py", "raise SystemExit", "modeling_new.py"),
        ("config.json", '{"attn_implementation": "owner/kernel"}', "config.json has attn_implementation"),
        ("config.json", '{"_attn_implementation": "o/k@v1:f"}', "config.json has _attn_implementation"),
    ],
)
def test_code_of_a_checkpoint_is_refused_and_not_run(checkpoint, name, content, reason):
    (checkpoint / name).write_text(content)
    assert refusal(checkpoint).startswith(
        f"URI brings code of its own ({reason}), which this pipeline never runs; choose"
    )


def test_a_checkpoint_with_an_empty_map_of_code_or_other_scripts_passes(checkpoint):
    (checkpoint / "config.json").write_text('{"model_type": "bert", "auto_map": {}}')
    (checkpoint / "convert.py").write_text("raise SystemExit")
    check_checkpoint(checkpoint, "URI")


def test_a_file_is_not_a_checkpoint(checkpoint):
    assert (
        refusal(checkpoint / "vocab.txt") == "URI must be a folder with a config, a tokenizer and weights, found a file"
    )


def copied(source, target) -> list[str]:
    """Names of the files in the copy, after a check that their bytes equal those of the source."""
    copy_checkpoint(source, target)
    names = sorted(str(file.relative_to(target)) for file in target.rglob("*") if file.is_file())
    assert all((target / name).read_bytes() == (source / name).read_bytes() for name in names)
    return names


def test_only_what_a_model_loads_from_is_copied(checkpoint, tmp_path):
    (checkpoint / "1_Pooling").mkdir()
    (checkpoint / "onnx").mkdir()
    needed = [
        "1_Pooling/config.json",
        "LICENSE",
        "merges.txt",
        "modules.json",
        "special_tokens_map.json",
        "spiece.model",
    ]
    needed += ["tokenizer.json", "tokenizer_config.json", "vocab.json"]
    left = [
        "README.md",
        "flax_model.msgpack",
        "model.fp16.safetensors",
        "onnx/model.onnx",
        "pytorch_model.bin",
        "tf_model.h5",
    ]
    for name in [*needed, *left]:
        (checkpoint / name).write_text(name)
    assert copied(checkpoint, tmp_path / "copy") == sorted([*needed, "config.json", "model.safetensors", "vocab.txt"])


def test_every_shard_is_copied(sharded, tmp_path):
    assert copied(sharded, tmp_path / "copy") == sorted(["config.json", INDEX, *SHARDS, "vocab.txt"])


def test_pickled_weights_are_copied_if_there_are_no_others(checkpoint, tmp_path):
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    assert copied(checkpoint, tmp_path / "copy") == ["config.json", "pytorch_model.bin", "vocab.txt"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", 0),
        ("hidden_size", True),
        ("hidden_size", "32"),
        ("num_attention_heads", -2),
        ("num_hidden_layers", 10**9),
        ("n_layers", 1001),
        ("vocab_size", 10**12),
        ("max_position_embeddings", 1e308),
    ],
)
def test_sizes_that_no_encoder_has_are_refused(checkpoint, name, value):
    """A model of a billion layers would be built for hours, one of none divide by zero in the middle of a stage."""
    (checkpoint / "config.json").write_text(json.dumps({"model_type": "bert", name: value}))
    message = refusal(checkpoint)
    assert message.startswith("URI: config.json must have a whole number of 1 to ")
    assert message.endswith(f" for {name}, found {str(value)!r}; get it again")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"num_hidden_layers": NaN}', "for num_hidden_layers, found 'nan'"),
        ('{"return_dict": false}', "has return_dict 'False', expected True; remove it"),
        ('{"chunk_size_feed_forward": 7}', "has chunk_size_feed_forward '7', expected 0; remove it"),
    ],
)
def test_what_is_no_number_and_settings_of_a_caller_are_refused(checkpoint, content, words):
    (checkpoint / "config.json").write_text(content)
    assert words in refusal(checkpoint)


def test_sizes_in_lists_are_left_to_the_library(checkpoint):
    (checkpoint / "config.json").write_text('{"n_heads": [2, 4], "num_hidden_layers": {"text": 2}, "dim": null}')
    check_checkpoint(checkpoint, "URI")


def test_an_index_with_half_a_character_in_a_name_is_refused(sharded):
    (sharded / INDEX).write_text('{"weight_map": {"a": "\\ud800.safetensors"}}')
    assert refusal(sharded).startswith(f"URI: {INDEX} must name safetensors files of its own folder, found ")
