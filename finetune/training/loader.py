"""The batches of one process, each in parts that a processor computes fast."""

import torch
from torch.utils.data import DataLoader

from finetune.encoder.batches import FeatureRows, TokenRows
from finetune.encoder.hardware import batch_tokens
from finetune.rows.lengths import rows_within
from finetune.training.distributed import processes, rank
from finetune.training.order import LengthBatches


class EpochLoader(DataLoader):
    """Loader whose order changes with the epoch, as its batch sampler says."""

    def set_epoch(self, epoch: int):
        self.batch_sampler.set_epoch(epoch)


def epoch_loader(
    train_rows: TokenRows | FeatureRows, train_labels: torch.Tensor, sampler: LengthBatches, seed: int
) -> EpochLoader:
    """Batches of this process: its share of each global batch, so that all processes make the same steps.

    A batch is a list of parts, whose gradients are to be added up: a processor computes a few tokens at a time faster.
    """
    first, count = rank(), processes()

    def collate(places: list[int]) -> list[dict[str, torch.Tensor]]:
        # From the global batch, so that every process has as many parts.
        rows = rows_within(batch_tokens(), max(train_rows.lengths[place] for place in places))
        share = -(-len(places) // count)
        mine = places[first::count]
        return [part(mine[start : start + rows], places) for start in range(0, share, rows)]

    def part(mine: list[int], places: list[int]) -> dict[str, torch.Tensor]:
        weight = count / len(places)
        if not mine:  # where the rows do not suffice for every process: take part, without weight
            mine, weight = places[:1], 0.0
        weights = torch.full((len(mine),), weight)
        return train_rows.batch(mine) | {"labels": train_labels[mine], "weights": weights}

    return EpochLoader(
        range(len(train_rows.lengths)),
        batch_sampler=sampler,
        collate_fn=collate,
        # Of its own: the loader must not move the generator that dropout draws from.
        generator=torch.Generator().manual_seed(seed),
        pin_memory=torch.cuda.is_available(),
    )
