"""bf16 or fp32: which one is faster here, measured rather than believed."""

import time

import torch

MARGIN = 1.5  # far from the 2 to 3 of processors with bf16 units and the 0.5 of those without
SHAPE = (1024, 768, 3072)  # a feed-forward layer of a BERT-sized encoder over 1,024 tokens
ROUNDS = 21  # other programs disturb some of them, hardly all


def chosen_precision(setting: str) -> str:
    """ "bf16" or "fp32" for `train.precision`; `auto` takes bf16 only where it is clearly faster.

    A processor can list bf16 and yet be slower with it (github.com/pytorch/pytorch/issues/86270).
    """
    if setting != "auto":
        return setting
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if bf16_gain() >= MARGIN else "fp32"


def bf16_gain() -> float:
    """Time of a matrix product in fp32 over its time in bf16; the best of several rounds of each, in turns."""
    rows, inner, columns = SHAPE
    best = {}
    for dtype in (torch.float32, torch.bfloat16) * ROUNDS:
        left, right = torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype)
        started = time.perf_counter()
        left @ right
        spent = time.perf_counter() - started
        best[dtype] = min(spent, best.get(dtype, spent))
    return best[torch.float32] / best[torch.bfloat16]
