"""Fetch the rows and the pretrained model; only `teach` uses the network too, for a teacher that lies elsewhere.

    python -m stages.download

reads   data/local/ (if `data.uri` or `model.uri` points there)
writes  data/raw/: a Parquet file for each split of the source, source.json
        models/base/: config, tokenizer, weights
"""

import shutil
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from finetune.base.command import run
from finetune.base.errors import UserError
from finetune.base.files import write_json
from finetune.base.params import check_named_labels, read_params
from finetune.base.params_data import Data, Model
from finetune.base.terminal import say
from finetune.sources.labels import name_of_each_value
from finetune.sources.model_folder import copy_checkpoint
from finetune.sources.pinned import pinned_model, pinned_rows
from finetune.sources.raw_rows import write_rows

RAW = Path("data/raw")
BASE = Path("models/base")


def fresh_folder(path: Path, uri: str):
    """Empties the folder `path` for what `uri` names; a file left there would count as part of the new source."""
    if path.resolve() in (Path(uri).resolve(), *Path(uri).resolve().parents):
        raise UserError(f"{uri} lies in {path}, which this stage clears before it writes; move it to data/local")
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} must be a folder, found a file; move it away and run `dvc repro` again")
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)


def download_data(data: Data):
    """Writes the rows of the source to data/raw/, one Parquet file for each split."""
    with tempfile.TemporaryDirectory() as folder:
        splits, pin = pinned_rows(data, Path(folder))
        fresh_folder(RAW, data.uri)
        counts = {name: write_rows(batches, data, RAW / f"{name}.parquet") for name, batches in splits.items()}
    labels = name_of_each_value(counts, data)
    check_named_labels(list(dict.fromkeys(labels.values())))
    rows = {name: pq.read_metadata(RAW / f"{name}.parquet").num_rows for name in counts}
    columns = {"columns": data.columns} if len(data.columns) > 1 else {}
    task = {} if data.task == "single_label" else {"task": data.task}
    write_json(RAW / "source.json", {"uri": data.uri, **pin, **columns, "rows": rows, "labels": labels, **task})
    say("data/raw: " + ", ".join(f"{count} {name} rows" for name, count in rows.items()))


def download_model(model: Model):
    """Copies the needed files of the pretrained model to models/base/."""
    with tempfile.TemporaryDirectory() as folder:
        path, pin = pinned_model(model, Path(folder))
        fresh_folder(BASE, model.uri)
        copy_checkpoint(path, BASE)
    write_json(BASE / "source.json", {"uri": model.uri, **pin})
    say(f"models/base: {model.uri}")


def main():
    data, model = read_params("data", "model")
    download_data(data)
    download_model(model)


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
