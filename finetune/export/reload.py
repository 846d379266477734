"""Probabilities of an exported folder in a fresh process, through the pipeline that applications use.

In a fresh process nothing already loaded can stand in for a missing file.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from scipy.special import expit, softmax
from tqdm import tqdm
from transformers import pipeline

from finetune.base.files import read_json
from finetune.encoder.hardware import attention, fast_fp32
from finetune.encoder.models import loading, trained_classifier
from finetune.encoder.prediction import logits
from finetune.rows.lengths import length_order
from finetune.rows.stored import TOKENIZED, column, has_label_sets, label_names, read_sample, token_ids
from finetune.rows.tokens import load_tokenizer
from finetune.rows.windows import as_documents

BATCH = 32
SEED = 42


def proof_rows(split: str, most: int) -> Dataset:
    """The rows on which the formats of the exported model are compared: at most `most`, drawn with a seed."""
    return read_sample(split, most, SEED)


def pipeline_probabilities(folder: str, texts: list[str | dict[str, str]], names: list[str]) -> np.ndarray:
    """Probabilities of shape [texts, classes] from `pipeline("text-classification")`, which answers with label names.

    A text is a string, or `text` and `text_pair` of a pair.
    """
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
        for positions in length_order(
            [len(text) if isinstance(text, str) else sum(map(len, text.values())) for text in texts], BATCH
        ):
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


def read_otherwise(rows: Dataset, source: dict) -> np.ndarray:
    """Whether the pipeline would give other tokens for each row; those rows go to the model as token ids.

    It can only cut off the end of a text, so it reads the first of several windows, and takes a pair without a second
    text for a single text.
    """
    cut = column(rows, "truncated").to_numpy()
    apart = cut & (source["truncation"] != "head")
    if (documents := as_documents(token_ids(rows))) is not None:
        return documents.counts > 1
    return apart | [not other for _, other in rows["fields"][:]] if source.get("pair") else apart


def folder_probabilities(folder: str, most: int) -> np.ndarray:
    """Probabilities of shape [rows, classes] of the folder for the `proof_rows` of the test split, in this process."""
    rows = proof_rows("test", most)
    source = read_json(TOKENIZED / "source.json")
    texts = rows["text"][:]
    if source.get("pair"):
        texts = [{"text": one, "text_pair": other} for one, other in rows["fields"][:]]
    probabilities = pipeline_probabilities(folder, texts, label_names(rows))
    apart = np.flatnonzero(read_otherwise(rows, source))
    if len(apart):
        ids = token_ids(rows).select(apart)
        answers = logits(trained_classifier(folder), ids, load_tokenizer(folder).pad_token_id).astype(np.float64)
        probabilities[apart] = expit(answers) if has_label_sets(rows) else softmax(answers, axis=-1)
    return probabilities
