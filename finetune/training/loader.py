"""The batches of one process, in parts of a size that a processor computes fast."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader

from finetune.encoder.batches import FeatureRows, TokenRows
from finetune.encoder.hardware import batch_tokens
from finetune.rows.lengths import rows_within
from finetune.training.distributed import processes, rank
from finetune.training.order import LengthBatches


class EpochLoader(DataLoader):
    """Loader that passes the epoch to its batch sampler, which has another order for each."""

    def set_epoch(self, epoch: int):
        self.batch_sampler.set_epoch(epoch)


def epoch_loader(
    train_rows: TokenRows | FeatureRows,
    targets: dict[str, torch.Tensor],
    row_weights: np.ndarray,
    sampler: LengthBatches,
    seed: int,
    fewest: int = 1,
) -> EpochLoader:
    """Batches of this process: its share of each global batch, so that all processes make the same steps.

    A batch is a list of parts whose gradients are to be added up, because a processor computes few tokens at a time
    faster. All parts but the last have at least `fewest` rows. A part holds `input_ids`, `attention_mask`, its rows of the
    `targets`, such as `labels`, and the `weights` of these rows in the loss: a row's weight in `row_weights` over the sum of
    those of its global batch, as `torch.nn.CrossEntropyLoss` divides by the weights of the targets, times the number of
    processes, over which gradients are averaged.
    """
    first, count = rank(), processes()

    def collate(positions: list[int]) -> list[dict[str, torch.Tensor]]:
        # The size of a part follows from the global batch, so that every process has the same number of parts.
        size = max(fewest, rows_within(batch_tokens(), int(train_rows.lengths[positions].max())))
        share = -(-len(positions) // count)
        mine = positions[first::count]
        total = row_weights[positions].sum()
        parts = [mine[start : start + size] for start in range(0, share, size)]
        # Too few rows for every process: compute any row, with weight 0.
        return [part(rows, count * row_weights[rows] / total) if rows else part(positions[:1], [0.0]) for rows in parts]

    def part(mine: list[int], weights: Sequence[float]) -> dict[str, torch.Tensor]:
        chosen = {name: values[mine] for name, values in targets.items()}
        return train_rows.batch(mine) | chosen | {"weights": torch.as_tensor(weights, dtype=torch.float32)}

    return EpochLoader(
        range(len(train_rows.lengths)),
        batch_sampler=sampler,
        collate_fn=collate,
        # A generator of its own: the loader must not advance the one that dropout draws from.
        generator=torch.Generator().manual_seed(seed),
        pin_memory=torch.cuda.is_available(),
    )
