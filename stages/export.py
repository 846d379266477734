"""Put the model into a folder that ships, with its card, and prove that it answers as evaluated.

    python -m stages.export

reads   models/finetuned/, data/tokenized/test.parquet and source.json, data/predictions/test.parquet
        metrics/data.json, baseline.json, train.json, test.json
writes  models/export/
        metrics/export.json
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.special import softmax

from finetune.card import model_card
from finetune.errors import UserError, run
from finetune.files import write_json
from finetune.params import read_params
from finetune.rows import TOKENIZED

FINETUNED = Path("models/finetuned")
PREDICTIONS = Path("data/predictions/test.parquet")
EXPORT = Path("models/export")
METRICS = Path("metrics/export.json")
RELOAD = "finetune.reload"  # started, not imported: with torch and transformers it takes five seconds to import
MEASURED = ("data", "baseline", "train", "test")


def reloaded_probabilities(folder: Path) -> np.ndarray:
    """Probabilities of shape [test rows, classes] that the folder gives in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "probabilities.npy"
        subprocess.run([sys.executable, "-m", RELOAD, str(folder), str(output)], check=True)
        return np.load(output)


def compare(evaluated: np.ndarray, reloaded: np.ndarray) -> dict[str, float]:
    """Largest difference of a probability, and the share of rows that keep their label."""
    return {
        "max_difference": np.abs(evaluated - reloaded).max(),
        "agreement": (evaluated.argmax(1) == reloaded.argmax(1)).mean(),
    }


def main():
    settings = read_params("export")
    measured = {name: json.loads(Path(f"metrics/{name}.json").read_text(encoding="utf-8")) for name in MEASURED}
    source = json.loads((TOKENIZED / "source.json").read_text(encoding="utf-8"))
    shutil.copytree(FINETUNED, EXPORT, dirs_exist_ok=True)

    evaluated = softmax(np.array(pq.read_table(PREDICTIONS).column("logits").to_pylist()), axis=1)
    found = compare(evaluated, reloaded_probabilities(EXPORT))
    if found["max_difference"] > settings.tolerance:
        raise UserError(
            f"the exported model's probabilities differ from the evaluated ones by up to {found['max_difference']:.2g}; "
            f"export.tolerance allows {settings.tolerance}: run `dvc repro --force evaluate export`"
        )
    (EXPORT / "README.md").write_text(model_card(settings.name, source, **measured, reload=found), encoding="utf-8")
    weights = sum(file.stat().st_size for file in EXPORT.glob("*.safetensors"))
    write_json(METRICS, {"reload": found, "megabytes": {"model": round(weights / 1e6, 2)}})
    print(
        f"models/export: reloaded, {found['agreement']:.1%} same labels, probabilities within {found['max_difference']:.1g}"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
