"""Documents as training rows: each window has its document's label, and all windows of a document have one weight in total."""

import numpy as np
import torch

from finetune.rows.windows import Documents


def of_windows(
    documents: Documents, targets: dict[str, torch.Tensor], weights: np.ndarray
) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Targets and weight of each window, from those of the documents; the mean weight of a window is that of a row."""
    owners = documents.owners
    shares = weights[owners] / documents.counts[owners]
    return {name: values[owners] for name, values in targets.items()}, shares * len(owners) / len(documents)
