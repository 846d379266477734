"""Where models compute, and what is fastest there: device, attention, tokens at once, precision, fp32 products."""

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator

import torch

# Both far from what is measured, so that noise does not change the choice.
BF16_MARGIN = 1.2  # processors with bf16 units gain 1.6 to 3, others 0.5
ONEDNN_MARGIN = 1.4  # AMD's processors gain 2, others 1
SHAPE = (1024, 384, 1536)  # a feed-forward layer of a small encoder over 1,024 tokens
ROUNDS = 15  # other programs disturb some of them, hardly all
# Largest error of a product of standard normal numbers: fp32 stays below 1e-4, rounding to bf16 makes 0.1.
EXACT = 1e-3
# Tokens that a processor computes at once, at most: what more of them leave behind falls out of its cache. At 256 tokens a
# row, training in parts of this many was 1.6 times as fast as in whole batches of 32 rows (docs/benchmarks.md).
CACHED_TOKENS = 2048


def device() -> torch.device:
    """Where models compute: the first GPU, or the one of this process among several, or the processor."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


def batch_tokens() -> int:
    """Number of tokens to compute at once, at most; a GPU takes batches whole."""
    return sys.maxsize if torch.cuda.is_available() else CACHED_TOKENS


def attention() -> str | None:
    """Implementation of attention that is fastest where models compute.

    On a processor plain products beat the fused kernel: its backward pass took three times as long at 26 tokens and twice
    at 256, its forward pass in bf16 1.4 times (docs/benchmarks.md). On a GPU the fused one, the library's choice, wins.
    """
    return None if torch.cuda.is_available() else "eager"


def chosen_precision(setting: str) -> str:
    """ "bf16" or "fp32" for `train.precision`; `auto` takes bf16 only where it is clearly faster.

    A processor can list bf16 and yet be slower with it (github.com/pytorch/pytorch/issues/86270).
    """
    if setting != "auto":
        return setting
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if bf16_gain() >= BF16_MARGIN else "fp32"


@contextlib.contextmanager
def fast_fp32() -> Iterator[None]:
    """Block whose products in fp32 are made by oneDNN, where that is clearly faster than torch's default and as exact.

    MKL, the default, reaches half of an AMD processor's speed. torch hands fp32 to oneDNN only together with the
    permission to round to bf16, which processors with matrix units (AMX) make use of: there nothing changes.
    """
    products = torch.backends.mkldnn.matmul
    before = products.fp32_precision
    if onednn_helps():
        products.fp32_precision = "bf16"
    try:
        yield
    finally:
        products.fp32_precision = before


@functools.cache
def onednn_helps() -> bool:
    """Whether fp32 products on the processor are faster through oneDNN, and still in fp32."""
    if torch.cuda.is_available():
        return False
    rows, inner, columns = SHAPE
    random = torch.Generator().manual_seed(0)
    left = torch.randn(rows, inner, generator=random)
    right = torch.randn(inner, columns, generator=random)
    exact = left.double() @ right.double()
    products = torch.backends.mkldnn.matmul
    before = products.fp32_precision

    def product(precision: str) -> torch.Tensor:
        products.fp32_precision = precision
        return left @ right

    try:
        error = (product("bf16") - exact).abs().max().item()
        return error < EXACT and gain(lambda: product(before), lambda: product("bf16")) >= ONEDNN_MARGIN
    finally:
        products.fp32_precision = before


def bf16_gain() -> float:
    """Time of a matrix product in fp32 over its time in bf16."""
    rows, inner, columns = SHAPE

    def product(dtype: torch.dtype) -> Callable:
        left, right = torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype)
        return lambda: left @ right

    with fast_fp32():
        return gain(product(torch.float32), product(torch.bfloat16))


def gain(before: Callable, after: Callable) -> float:
    """Time of one call over the time of another; the best of several rounds of each, in turns."""
    best = {}
    for call in (before, after) * ROUNDS:
        started = time.perf_counter()
        call()
        spent = time.perf_counter() - started
        best[call] = min(spent, best.get(call, spent))
    return best[before] / best[after]
