"""A training on pairs of rows: texts with the same label move together, texts with different labels apart."""

import torch
from transformers.modeling_outputs import BaseModelOutput

from finetune.encoder.prediction import head_input


def representations(model, output, part: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the head of a classifier reads of each row, [rows, hidden], from an output with hidden states."""
    config = getattr(model, "module", model).config  # several processes train the model in a wrapper
    return head_input(config)(BaseModelOutput(output.hidden_states[-1]), part).float()


def pair_loss(texts: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean squared difference between the cosine of two rows and its goal: 1 with the same label, 0 with different ones.

    `texts` has shape [rows, hidden]; `labels` are class ids and `weights` the weights of the rows, both [rows]. The loss and
    the goals are those of SetFit (Tunstall et al. 2022), over all pairs of the rows instead of drawn ones. A pair counts with
    the product of its rows' weights. As in SetFit, pairs of either kind count the same in total; if there is only one kind, it counts
    alone. 0 for a single row.
    """
    unit = torch.nn.functional.normalize(texts, dim=-1)
    first, second = torch.triu_indices(len(texts), len(texts), offset=1, device=texts.device)
    same = labels[first] == labels[second]
    errors = ((unit[first] * unit[second]).sum(-1) - same.float()) ** 2
    counts = weights[first] * weights[second]
    means = [(errors * counts)[kind].sum() / counts[kind].sum() for kind in (same, ~same) if counts[kind].sum() > 0]
    return sum(means) / len(means) if means else 0.0 * texts.sum()
