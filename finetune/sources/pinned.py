"""The rows and the model that params.yaml names, each with the commit or SHA-256 that pins it down."""

from collections.abc import Iterable
from pathlib import Path

from finetune.base.errors import UserError
from finetune.base.params_data import Data, Model
from finetune.sources.fetch import check_sha256, local_path
from finetune.sources.hub import dataset_batches, model_snapshot, resolve
from finetune.sources.model_folder import check_checkpoint
from finetune.sources.tables import read_batches, split_files


def pinned_rows(data: Data, folder: Path) -> tuple[dict[str, Iterable[dict]], dict]:
    """Batches of rows for each split of the source, and its pin: {"commit": …}, {"sha256": …} or {} for a folder.

    Files that are not on this disk are fetched into `folder`. Raises UserError when the source cannot be read or is
    not the one that `data.sha256` names.
    """
    named = [*data.columns, *data.label_columns, *([data.group] if data.group else [])]
    columns = list(dict.fromkeys(named))
    if data.uri.startswith("hf://"):
        if data.sha256:
            raise UserError("data.sha256 must be null for hf://, which is pinned by its revision")
        repository = resolve(data.uri, datasets=True)
        return dataset_batches(repository, columns, data.list_column), {"commit": repository.commit}
    path = local_path(data.uri, folder)
    if path.is_dir() and data.sha256:
        raise UserError(f"data.sha256 must be null for a folder of files, and {data.uri} is one")
    pin = {"sha256": check_sha256(path, data.sha256, "data.sha256")} if path.is_file() else {}
    splits = split_files(path)
    return {name: chained(files, columns, data.list_column) for name, files in splits.items()}, pin


def chained(files: list[Path], columns: list[str], list_column: str | None) -> Iterable[dict]:
    """Batches of several files, one after another."""
    for file in files:
        yield from read_batches(file, columns, list_column)


def pinned_model(model: Model, folder: Path) -> tuple[Path, dict]:
    """Checked folder of the pretrained model, and its pin: {"commit": …}, {"sha256": …} or {}.

    Files that are not on this disk are fetched into `folder`, or into the Hub's cache. Raises UserError when the model
    cannot be had, is incomplete, or is not the one that `model.sha256` names.
    """
    if model.uri.startswith("hf://"):
        repository = resolve(model.uri, datasets=False)
        path, pin = model_snapshot(repository), {"commit": repository.commit}
    else:
        path, pin = local_path(model.uri, folder), {}
    check_checkpoint(path, model.uri)
    if model.sha256 and not (path / "model.safetensors").is_file():
        raise UserError(f"model.sha256 is that of model.safetensors, which {model.uri} does not hold; set it to null")
    if model.sha256:
        pin["sha256"] = check_sha256(path / "model.safetensors", model.sha256, "model.sha256")
    return path, pin
