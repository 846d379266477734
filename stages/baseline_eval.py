"""Score what a user would try instead of fine-tuning, on the same test rows.

    python -m stages.baseline_eval

reads   data/tokenized/, models/base/
writes  data/predictions/baseline.parquet
        metrics/baseline.json, metrics/plots/baseline_eval/
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import Dataset
from transformers import AutoConfig

from finetune import baselines
from finetune.baselines import Labelled
from finetune.curves import precision_recall, roc
from finetune.encoder import device
from finetune.errors import run
from finetune.files import write_csv, write_json
from finetune.intervals import crossed_interval
from finetune.params import Baseline, read_params
from finetune.precision import chosen_precision
from finetune.rows import TOKENIZED, label_names, read_rows
from finetune.scores import score_block
from finetune.tokens import encode, load_tokenizer, special_tokens, truncate

BASE = Path("models/base")
PREDICTIONS = Path("data/predictions/baseline.parquet")
METRICS = Path("metrics/baseline.json")
PLOTS = Path("metrics/plots/baseline_eval")


def baseline_probabilities(splits: dict[str, Dataset], tokenizer, settings: Baseline) -> dict[str, np.ndarray]:
    """Probabilities of shape [test rows, classes] from each baseline; [draws, test rows, classes] from few_shot."""
    train, validation, test = splits.values()
    names = label_names(test)
    length, special = tokenizer.model_max_length, special_tokens(tokenizer)
    prompts = encode(tokenizer, baselines.label_words(names, settings.zero_shot))
    rows = {name: split["input_ids"][:] for name, split in splits.items()}
    rows["prompts"] = [truncate(prompt, length, "head", special) for prompt in prompts]
    features = baselines.encoder_features(BASE, rows, tokenizer.pad_token_id)
    labelled = {name: Labelled(features[name], np.asarray(split["label"][:])) for name, split in splits.items()}

    if baselines.fills_masks(AutoConfig.from_pretrained(BASE), tokenizer):
        zero_shot = baselines.filled_mask(BASE, tokenizer, test, settings.zero_shot, length)
    else:
        zero_shot = baselines.similar_prompt(features["prompts"], features["test"])
    return {
        "majority": baselines.majority(labelled["train"].labels, len(test), len(names)),
        "tfidf": baselines.tfidf(train, validation, test),
        "embedding": baselines.embedding(labelled["train"], labelled["validation"], features["test"], len(names)),
        "untrained": baselines.untrained(BASE, test, tokenizer.pad_token_id, settings.seed),
        "zero_shot": zero_shot,
        "few_shot": baselines.few_shot(
            labelled["train"], features["test"], len(names), settings.few_shot, settings.seed
        ),
    }


def mean_block(blocks: list[dict]) -> dict:
    """Score blocks averaged number by number."""
    return {
        key: mean_block([block[key] for block in blocks])
        if isinstance(value, dict)
        else value
        if isinstance(value, int)  # numbers of rows, the same in all
        else float(np.mean([block[key] for block in blocks]))
        for key, value in blocks[0].items()
    }


def few_shot_block(labels: np.ndarray, draws: np.ndarray, names: list[str]) -> dict:
    """Mean score block over draws, the standard deviation of their accuracies, and the interval over draws and rows."""
    block = mean_block([score_block(labels, draw.argmax(1), names) for draw in draws])
    right = draws.argmax(2) == labels
    return {
        **block,
        "rows": len(labels),
        "interval": crossed_interval(right),
        "std": right.mean(1).std(ddof=1),
        "draws": len(draws),
    }


def main():
    settings = read_params("baseline")
    splits = {name: read_rows(name) for name in ("train", "validation", "test")}
    test = splits["test"]
    names, labels = label_names(test), np.asarray(test["label"][:])
    tokenizer = load_tokenizer(TOKENIZED / "tokenizer")
    # As training computes: the frozen encoder reads every training row, which is most of this stage's time.
    with torch.autocast(device().type, torch.bfloat16, enabled=chosen_precision("auto") == "bf16"):
        found = baseline_probabilities(splits, tokenizer, settings)

    metrics = {"few_shot": few_shot_block(labels, found["few_shot"], names)}
    # Row by row the strongest draw stands for all, so that a gain over it is a gain over any.
    found["few_shot"] = max(found["few_shot"], key=lambda draw: (draw.argmax(1) == labels).mean())
    metrics = {
        name: metrics.get(name) or score_block(labels, shares.argmax(1), names) for name, shares in found.items()
    }
    best = max(metrics, key=lambda name: metrics[name]["accuracy"])

    PREDICTIONS.parent.mkdir(parents=True, exist_ok=True)
    columns = {"row": test["row"][:], "label": labels} | {
        name: pa.array(list(shares.astype(np.float32))) for name, shares in found.items()
    }
    pq.write_table(pa.table(columns), PREDICTIONS)
    write_json(METRICS, metrics | {"best": best})
    write_csv(PLOTS / "roc.csv", ["false_positive_rate", "baseline"], roc(labels, found[best]))
    write_csv(PLOTS / "precision_recall.csv", ["recall", "baseline"], precision_recall(labels, found[best]))
    bars = [
        [name, block["accuracy"], block["interval"]["low"], block["interval"]["high"]]
        for name, block in metrics.items()
    ]
    write_csv(PLOTS / "accuracy.csv", ["classifier", "accuracy", "low", "high"], bars)
    print("baseline accuracy: " + ", ".join(f"{name} {block['accuracy']:.3f}" for name, block in metrics.items()))


if __name__ == "__main__":
    raise SystemExit(run(main))
