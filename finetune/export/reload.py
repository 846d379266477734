"""What an exported folder answers in a fresh process, through the pipeline that applications use.

    python -m finetune.reload models/export probabilities.npy

Nothing of the training process is left here that could answer in the folder's place.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import pipeline

from finetune.base.errors import run
from finetune.encoder.hardware import fast_fp32
from finetune.encoder.models import attention, loading, logits, probabilities, trained_classifier
from finetune.rows.lengths import length_order
from finetune.rows.stored import TOKENIZED, label_names, read_rows
from finetune.rows.tokens import load_tokenizer

BATCH = 32


def pipeline_probabilities(folder: str, texts: list[str], names: list[str]) -> np.ndarray:
    """Probabilities of shape [texts, classes] from `pipeline("text-classification")`, which answers with label names."""
    with loading(folder):
        classify = pipeline(
            "text-classification",
            model=folder,
            tokenizer=folder,
            top_k=None,
            truncation=True,
            dtype=torch.float32,
            model_kwargs={"attn_implementation": attention()},
        )
    found = np.empty((len(texts), len(names)))
    with fast_fp32(), tqdm(desc="reload", total=len(texts), unit=" rows", disable=None) as bar:
        for places in length_order([len(text) for text in texts], BATCH):
            for place, answer in zip(
                places, classify([texts[place] for place in places], batch_size=BATCH), strict=True
            ):
                scores = {entry["label"]: entry["score"] for entry in answer}
                found[place] = [scores[name] for name in names]
            bar.update(len(places))
    return found


def main(folder: str, output: str):
    rows = read_rows("test")
    found = pipeline_probabilities(folder, rows["text"][:], label_names(rows))
    # The pipeline can only cut a text's end off. What was cut in another way is given to the model as ids.
    cut = np.flatnonzero(rows["truncated"][:])
    if json.loads((TOKENIZED / "source.json").read_text(encoding="utf-8"))["truncation"] != "head" and len(cut):
        ids = rows.select(cut)["input_ids"][:]
        found[cut] = probabilities(logits(trained_classifier(folder), ids, load_tokenizer(folder).pad_token_id))
    with Path(output).open("wb") as file:
        np.save(file, found)


if __name__ == "__main__":
    raise SystemExit(run(lambda: main(*sys.argv[1:])))
