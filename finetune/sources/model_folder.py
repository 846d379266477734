"""A pretrained model's folder: checks that it is complete, and copies the files that are needed."""

import shutil
from pathlib import Path

from safetensors import SafetensorError, safe_open

from finetune.base.errors import UserError, one_line
from finetune.base.files import read_json, stays_inside

TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "tokenizer.model",
)
INDEX = "model.safetensors.index.json"
WEIGHTS = ("model.safetensors", INDEX, "pytorch_model.bin")
# Keys by which a checkpoint asks transformers to run its own Python, and the names of such files.
RUNS_CODE = {"config.json": ("auto_map", "custom_pipelines"), "tokenizer_config.json": ("auto_map",)}
# A repository on the Hub here would be downloaded and run as a kernel. https://huggingface.co/docs/transformers/kernel_doc
KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
CODE = ("configuration_*.py", "modeling_*.py", "tokenization_*.py")
# Names of an encoder's sizes in the configs of all families, with the largest that are taken: a model of a billion layers would
# be built for hours. The last two are settings of a caller, with which no encoder answers as this project asks.
MOST_LAYERS, LARGEST = 1_000, 100_000_000
LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")
SIZES = ("hidden_size", "embedding_size", "dim", "d_model", "intermediate_size", "hidden_dim", "vocab_size")
SIZES += ("num_attention_heads", "n_heads", "n_head", "max_position_embeddings")
AS_USUAL = {"chunk_size_feed_forward": 0, "return_dict": True}
# `modules.json` and its folders say how a sentence encoder pools.
NEEDED = (
    "config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
)
NEEDED += ("modules.json", "*_Pooling/config.json", "LICENSE*", "model.safetensors", "model-*.safetensors", INDEX)


def check_checkpoint(folder: Path, uri: str):
    """Raises UserError unless the folder holds a config, a tokenizer and readable weights, and no code of its own."""
    if not folder.is_dir():
        raise UserError(f"{uri} must be a folder with a config, a tokenizer and weights, found a file")
    config = folder / "config.json"
    if not config.is_file():
        raise UserError(f"{uri} has no config.json, so it is not a Hugging Face model folder")
    refuse_code(folder, uri)
    check_sizes(check_object(config, uri), uri)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise UserError(f"{uri} has no tokenizer; expected one of {', '.join(TOKENIZERS)}")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise UserError(f"{uri} has no weights; expected one of {', '.join(WEIGHTS)}")
    if (folder / INDEX).is_file():
        check_index(folder, uri)
    for weights in weight_files(folder):
        check_weights(weights, uri)


def check_sizes(config: dict, uri: str):
    """Raises UserError for a size that no encoder has; a list of sizes, or none, is left to transformers."""
    for name, most in {**dict.fromkeys(LAYERS, MOST_LAYERS), **dict.fromkeys(SIZES, LARGEST)}.items():
        value = config.get(name, 1)
        if not (isinstance(value, list | dict | None) or (type(value) is int and 1 <= value <= most)):
            raise UserError(
                f"{uri}: config.json must have a whole number of 1 to {most:,} for {name}, found {str(value)[:80]!r}; get it again"
            )
    for name, usual in AS_USUAL.items():
        if config.get(name, usual) != usual:
            raise UserError(f"{uri}: config.json has {name} {str(config[name])[:80]!r}, expected {usual}; remove it")


def check_index(folder: Path, uri: str):
    """Raises UserError unless the index maps weights to safetensors files in the same folder."""
    shards = check_object(folder / INDEX, uri).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise UserError(f"{uri}: {INDEX} has no weight_map; get the model again")
    for name in shards.values():
        if not (stays_inside(name) and "/" not in name and name.endswith(".safetensors")):
            raise UserError(
                f"{uri}: {INDEX} must name safetensors files of its own folder, found {str(name)[:80]!r}; get the model again"
            )


def refuse_code(folder: Path, uri: str):
    """Raises UserError if the checkpoint brings Python code, or a JSON file that would have transformers run some.

    transformers would ask whether to run it, and wait for an answer that a pipeline cannot give.
    """
    asks = [
        f"{name} has {key}"
        for name, keys in RUNS_CODE.items()
        if (folder / name).is_file()
        for key in keys
        if check_object(folder / name, uri).get(key)
    ]
    if (folder / "config.json").is_file():
        config = check_object(folder / "config.json", uri)
        asks += [f"config.json has {key}" for key in KERNELS if "/" in str(config.get(key))]
    files = sorted(path.name for pattern in CODE for path in folder.glob(pattern))
    if asks or files:
        raise UserError(
            f"{uri} brings code of its own ({(asks + files)[0]}), which this pipeline never runs; "
            "choose an encoder that transformers itself holds in model.uri"
        )


def check_object(path: Path, uri: str) -> dict:
    """Content of a JSON file that holds an object; raises UserError for anything else."""
    try:
        value = read_json(path)
    except (ValueError, RecursionError) as error:  # too deeply nested
        raise UserError(f"{uri}: {path.name} is not JSON ({one_line(error)}); get the model again") from None
    if not isinstance(value, dict):
        raise UserError(f"{uri}: {path.name} must hold a JSON object, found a {type(value).__name__}")
    return value


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers would load, shards in order; an empty list if the weights are pickled."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if not (folder / INDEX).is_file():
        return []
    shards = read_json(folder / INDEX)["weight_map"].values()
    return [folder / name for name in sorted(set(shards))]


def check_weights(path: Path, uri: str):
    """Raises UserError when a weight file is missing or shorter than its header says."""
    if path.exists() and not path.is_file():  # reading a pipe would wait forever
        raise UserError(f"{uri}: {path.name} is no file; get the model again")
    try:
        with safe_open(path, framework="np"):
            pass
    except (SafetensorError, FileNotFoundError) as error:
        raise UserError(f"{uri}: {path.name} is damaged or missing ({one_line(error)}); get the model again") from None


def copy_checkpoint(source: Path, target: Path):
    """Copies the files that a model and its tokenizer load from; leaves out exports and other formats."""
    weights = weight_files(source) or source.glob("pytorch_model*.bin*")
    needed = {file for pattern in NEEDED for file in source.glob(pattern) if file.is_file()}
    for file in sorted({*needed, *weights}):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(file, copy)
        except OSError as error:
            # shutil names the source first, but a full disk concerns the target.
            raise OSError(error.errno, error.strerror, error.filename2 or error.filename) from None
