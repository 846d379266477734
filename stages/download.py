"""Fetch the rows and the pretrained model; the only stage that uses the network.

    python -m stages.download

reads   data/local/ (where `data.uri` or `model.uri` points there)
writes  data/raw/: a Parquet file for each split that the source has, source.json
        models/base/: config, tokenizer, weights
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from finetune.base.command import run
from finetune.base.errors import UserError
from finetune.base.files import write_json
from finetune.base.params import Data, Model, read_params
from finetune.sources.fetch import check_sha256, local_path
from finetune.sources.hub import dataset_batches, model_snapshot, resolve
from finetune.sources.labels import label_names
from finetune.sources.model_folder import check_checkpoint, copy_checkpoint
from finetune.sources.tables import read_batches, split_files

RAW = Path("data/raw")
BASE = Path("models/base")
SCHEMA = pa.schema([("text", pa.string()), ("label", pa.string()), ("group", pa.string())])


def source_batches(data: Data, folder: Path) -> tuple[dict[str, Iterable[dict]], dict]:
    """Batches of rows for each split of the source, and what pins the source down (commit or SHA-256)."""
    columns = list(dict.fromkeys([data.text, data.label] + ([data.group] if data.group else [])))
    if data.uri.startswith("hf://"):
        if data.sha256:
            raise UserError("data.sha256 must be null for hf://, which is pinned by its revision")
        repository = resolve(data.uri, datasets=True)
        return dataset_batches(repository, columns), {"commit": repository.commit}
    path = local_path(data.uri, folder)
    if path.is_dir() and data.sha256:
        raise UserError(f"data.sha256 must be null for a folder of files, and {data.uri} is one")
    pin = {"sha256": check_sha256(path, data.sha256, "data.sha256")} if path.is_file() else {}
    splits = split_files(path)
    return {name: chained(files, columns) for name, files in splits.items()}, pin


def chained(files: list[Path], columns: list[str]) -> Iterable[dict]:
    """Batches of several files, one after another."""
    for file in files:
        yield from read_batches(file, columns)


def write_rows(batches: Iterable[dict], data: Data, path: Path) -> Counter:
    """Rows written as text, label and group (a missing label or group is null); counts each raw label."""
    counts: Counter = Counter()
    with pq.ParquetWriter(path, SCHEMA) as writer, tqdm(desc=f"{path.stem} rows", unit=" rows", disable=None) as bar:
        for batch in batches:
            labels = [(label or "").strip() or None for label in batch[data.label]]
            groups = batch[data.group] if data.group else [None] * len(labels)
            writer.write_table(pa.table([batch[data.text], labels, groups], schema=SCHEMA))
            counts.update(labels)
            bar.update(len(labels))
    return counts


def fresh_folder(path: Path, uri: str):
    """Empty folder at `path` for what `uri` names; files of an earlier source would be taken for files of this one."""
    if path.resolve() in (Path(uri).resolve(), *Path(uri).resolve().parents):
        raise UserError(f"{uri} lies in {path}, which is cleared for what this stage writes; move it to data/local")
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} must be a folder, found a file; move it away and run `dvc repro` again")
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)


def download_data(data: Data):
    """Rows of the source in data/raw/, one Parquet file a split."""
    with tempfile.TemporaryDirectory() as folder:
        splits, pin = source_batches(data, Path(folder))
        fresh_folder(RAW, data.uri)
        counts = {name: write_rows(batches, data, RAW / f"{name}.parquet") for name, batches in splits.items()}
    labels = label_names(sum(counts.values(), Counter()), data)
    rows = {name: count.total() for name, count in counts.items()}
    source = {"uri": data.uri, **pin, "rows": rows, "labels": labels}
    write_json(RAW / "source.json", source)
    print("data/raw: " + ", ".join(f"{count} {name} rows" for name, count in rows.items()))


def download_model(model: Model):
    """Files of the pretrained model in models/base/."""
    with tempfile.TemporaryDirectory() as folder:
        if model.uri.startswith("hf://"):
            repository = resolve(model.uri, datasets=False)
            path, pin = model_snapshot(repository), {"commit": repository.commit}
        else:
            path, pin = local_path(model.uri, Path(folder)), {}
        check_checkpoint(path, model.uri)
        if model.sha256 and not (path / "model.safetensors").is_file():
            raise UserError(
                f"model.sha256 is that of model.safetensors, which {model.uri} does not hold; set it to null"
            )
        if model.sha256:
            pin["sha256"] = check_sha256(path / "model.safetensors", model.sha256, "model.sha256")
        fresh_folder(BASE, model.uri)
        copy_checkpoint(path, BASE)
    write_json(BASE / "source.json", {"uri": model.uri, **pin})
    print(f"models/base: {model.uri}")


def main():
    data, model = read_params("data", "model")
    download_data(data)
    download_model(model)


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
