"""The rows of a training with their targets: documents become windows, each with its document's label and a share of its weight."""

from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset

from finetune.encoder.batches import FeatureRows, TokenRows
from finetune.rows.stored import token_ids
from finetune.rows.windows import Documents, as_documents


@dataclass
class LabelledRows:
    """What a training reads: the training rows and the validation rows, or the windows of both.

    `targets` holds tensors of one entry for each training row: `labels`, and `soft_labels` from a teacher. `weights`, [training
    rows], and `validation_targets`, [validation rows], are arrays. `prompts` has a row for each label that describes it, or is
    None. `documents` are those that the validation rows are windows of, or None.
    """

    train: TokenRows | FeatureRows
    targets: dict[str, torch.Tensor]
    weights: np.ndarray
    validation: TokenRows | FeatureRows
    validation_targets: np.ndarray
    prompts: TokenRows | None
    documents: Documents | None


def labelled_rows(
    train: Dataset,
    validation: Dataset,
    targets: dict[str, torch.Tensor],
    validation_targets: np.ndarray,
    weights: np.ndarray,
    pad_id: int,
    prompts: list[list[int]] | None = None,
) -> LabelledRows:
    """What a training reads, from stored rows and from targets and weights that have an entry for each of them."""
    train_ids, validation_ids = token_ids(train), token_ids(validation)
    documents = as_documents(validation_ids)
    if documents is not None:
        targets, weights = of_windows(train_ids, targets, weights)
        validation_targets = validation_targets[documents.owners]
        train_ids, validation_ids = train_ids.windows, validation_ids.windows
    return LabelledRows(
        TokenRows(train_ids, pad_id),
        targets,
        weights,
        TokenRows(validation_ids, pad_id),
        validation_targets,
        prompts and TokenRows(prompts, pad_id),
        documents,
    )


def of_windows(
    documents: Documents, targets: dict[str, torch.Tensor], weights: np.ndarray
) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Targets and weight of each window, from those of the documents; the mean weight of a window is that of a row."""
    owners = documents.owners
    shares = weights[owners] / documents.counts[owners]
    return {name: values[owners] for name, values in targets.items()}, shares * len(owners) / len(documents)
