"""A teacher: a fine-tuned classifier with the same labels, whose answers for the rows a student learns from."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset

from finetune.base.errors import UserError
from finetune.base.names import normal_name
from finetune.base.params_data import Model
from finetune.encoder.hardware import chosen_precision
from finetune.encoder.models import trained_classifier
from finetune.encoder.prediction import logits
from finetune.rows.encoding import Encoder, cut
from finetune.rows.stored import batches, class_ids, has_label_sets, label_matrix, stored
from finetune.rows.token_ids import TokenIds
from finetune.rows.tokens import (
    check_vocabulary,
    ensure_padding,
    load_config,
    load_tokenizer,
    longest_input,
    special_tokens,
)
from finetune.sources.fetch import check_sha256
from finetune.sources.pinned import pinned_model

KINDS = {  # of classifiers, by their problem_type: whether a text may have several labels
    None: False,
    "single_label_classification": False,
    "multi_label_classification": True,
}
LONGEST = 512  # tokens that a teacher reads which names no limit of its own


class Teacher(NamedTuple):
    """A classifier with its own tokenizer; `order` has its class id for each of our labels, `pin` its commit or SHA-256."""

    model: torch.nn.Module
    tokenizer: object
    max_length: int
    order: list[int]
    pin: dict[str, str]


@contextlib.contextmanager
def naming(uri: str, fetched: Path | None = None) -> Iterator[None]:
    """Block whose errors name the parameter and its value, not the encoder's parameter and the folder that was fetched."""
    try:
        yield
    except UserError as error:
        message = str(error) if fetched is None else str(error).replace(str(fetched), uri)
        raise UserError(f"train.teacher: {message.replace('model.uri', 'train.teacher')}") from None


def load_teacher(uri: str, label_names: list[str], folder: Path, several: bool = False) -> Teacher:
    """Teacher that `uri` names, fetched into `folder` unless it is on this disk; `several`: of several labels per text.

    Raises UserError, in one line, if it cannot be had, does not load, is no such classifier, or does not have exactly these
    labels.
    """
    with naming(uri):
        path, pin = pinned_model(Model(uri=uri, sha256=None), folder)
        weights = path / "model.safetensors"
        if not pin and weights.is_file():
            pin = {"sha256": check_sha256(weights, None, "train.teacher")}
    with naming(uri, path):
        tokenizer, config = load_tokenizer(path), load_config(path)
        ensure_padding(tokenizer, config)
        model = trained_classifier(path)
        longest = longest_input(config, tokenizer) or LONGEST
        return Teacher(model, tokenizer, longest, label_order(model.config, label_names, several), pin)


def label_order(config, label_names: list[str], several: bool) -> list[int]:
    """Class id of the teacher for each of our labels, found by name.

    Raises UserError if the two sets of labels differ, or if it gives a text one label where ours has several, or the reverse.
    """
    if KINDS.get(config.problem_type) != several:
        gives, choose = ("any number of labels", "several labels") if several else ("one label", "one label")
        raise UserError(
            f"it must give {gives} to each text, found the problem_type {config.problem_type!r} in its config.json; "
            f"choose a teacher for {choose} a text"
        )
    names = {label: normal_name(str(name)) for label, name in config.id2label.items()}
    ids = {name: label for label, name in names.items()}
    if set(ids) != set(label_names) or len(ids) < len(names):
        listed = ", ".join(str(name) for name in names.values())
        raise UserError(
            f"it must have the labels of the data, {', '.join(label_names)}, found {listed}; "
            "name them alike in data.labels, or correct id2label in its config.json"
        )
    return [ids[name] for name in label_names]


def teacher_logits(teacher: Teacher, split: str, truncation: str) -> np.ndarray:
    """The teacher's logits of a split's texts, in the order of rows and of our labels, float32 of shape [rows, classes].

    It reads the texts with its own tokenizer, cut to its own longest input.
    """
    encoder, special = Encoder(teacher.tokenizer), special_tokens(teacher.tokenizer)
    with stored(split) as file:
        columns = [
            cut(encoder(batch.column("text")), teacher.max_length, truncation, special).as_arrow()
            for batch in batches(file, ["text"])
        ]
    ids = TokenIds(pa.chunked_array(columns, pa.list_(pa.int32())))
    check_vocabulary(max(int(values.max(initial=0)) for values in ids.values), teacher.model.config)
    kind = teacher.model.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=chosen_precision("auto") == "bf16"):
        answers = logits(teacher.model, ids, teacher.tokenizer.pad_token_id, desc=f"teach {split}")
    return np.ascontiguousarray(answers[:, teacher.order])


def accuracy(logits: np.ndarray, rows: Dataset) -> float:
    """Share of rows with the right label, or with exactly the right set: those with a probability of 0.5 or more."""
    if has_label_sets(rows):
        return float(((logits >= 0) == label_matrix(rows)).all(1).mean())
    return float((logits.argmax(1) == class_ids(rows)).mean())
