"""Probabilities of an exported folder in a fresh process, through the pipeline that applications use.

In a fresh process nothing already loaded can stand in for a missing file.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from scipy.special import softmax
from tqdm import tqdm
from transformers import pipeline

from finetune.base.files import read_json
from finetune.encoder.hardware import attention, fast_fp32
from finetune.encoder.models import loading, trained_classifier
from finetune.encoder.prediction import logits
from finetune.rows.lengths import length_order
from finetune.rows.stored import TOKENIZED, column, label_names, read_sample, token_ids
from finetune.rows.tokens import load_tokenizer

BATCH = 32
SEED = 42


def proof_rows(split: str, most: int) -> Dataset:
    """The rows on which the formats of the exported model are compared: at most `most`, drawn with a seed."""
    return read_sample(split, most, SEED)


def pipeline_probabilities(folder: str, texts: list[str], names: list[str]) -> np.ndarray:
    """Probabilities of shape [texts, classes] from `pipeline("text-classification")`, which answers with label names."""
    with loading(folder):
        classify = pipeline(
            "text-classification",
            model=folder,
            tokenizer=folder,
            top_k=None,
            truncation=True,
            trust_remote_code=False,
            dtype=torch.float32,
            model_kwargs={"attn_implementation": attention()},
        )
    probabilities = np.empty((len(texts), len(names)))
    with fast_fp32(), tqdm(desc="reload", total=len(texts), unit=" rows", disable=None) as bar:
        for positions in length_order([len(text) for text in texts], BATCH):
            for position, answer in zip(
                positions, classify([texts[position] for position in positions], batch_size=BATCH), strict=True
            ):
                scores = {entry["label"]: entry["score"] for entry in answer}
                probabilities[position] = [scores[name] for name in names]
            bar.update(len(positions))
    return probabilities


def reloaded_probabilities(folder: Path, most: int) -> np.ndarray:
    """Probabilities of shape [rows, classes] of the folder for the `proof_rows` of the test split, from a fresh process.

    Raises in this process any UserError of that one.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(folder_probabilities, str(folder), most).result()


def folder_probabilities(folder: str, most: int) -> np.ndarray:
    """Probabilities of shape [rows, classes] of the folder for the `proof_rows` of the test split, in this process."""
    rows = proof_rows("test", most)
    probabilities = pipeline_probabilities(folder, rows["text"][:], label_names(rows))
    # The pipeline can only cut off the end of a text. Texts that were cut otherwise go to the model as token ids.
    cut = np.flatnonzero(column(rows, "truncated"))
    if read_json(TOKENIZED / "source.json")["truncation"] != "head" and len(cut):
        ids = token_ids(rows).select(cut)
        probabilities[cut] = softmax(
            logits(trained_classifier(folder), ids, load_tokenizer(folder).pad_token_id).astype(np.float64), axis=-1
        )
    return probabilities
