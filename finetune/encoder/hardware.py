"""Where models compute, and what is fastest there: device, attention, tokens at once, precision, fp32 products."""

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator

import torch

# Both are far from the measured gains, so that noise does not change the choice.
BF16_MARGIN = 1.2  # processors with bf16 units gain a factor of 1.6 to 3, others 0.5
ONEDNN_MARGIN = 1.4  # AMD's processors gain a factor of 2, others 1
SHAPE = (1024, 384, 1536)  # a feed-forward layer of a small encoder over 1,024 tokens
ROUNDS = 15  # other programs may disturb some of them, hardly all
FEWEST_ROUNDS = 3
BUDGET = 0.5  # seconds of processor time: without bf16 units a round takes 0.5 s, not 0.02, and its ratio is clear
# Largest error of a product of standard normal numbers: below 1e-4 in fp32, about 0.1 with rounding to bf16.
EXACT = 1e-3
# Most tokens that a processor computes at once: the activations of more of them do not fit its cache. At 256 tokens a row,
# training in parts of this size was 1.6 times as fast as in whole batches of 32 rows (docs/benchmarks.md).
CACHED_TOKENS = 2048


def device() -> torch.device:
    """Where models compute: the GPU of this process (the first one if it is alone), or the processor without a GPU."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


def device_name() -> str:
    """Name of the GPU of this process, or "the processor": "NVIDIA H100 80GB HBM3"."""
    return torch.cuda.get_device_name(device()) if torch.cuda.is_available() else "the processor"


def batch_tokens() -> int:
    """Most tokens to compute at once; a GPU takes whole batches."""
    return sys.maxsize if torch.cuda.is_available() else CACHED_TOKENS


def attention() -> str | None:
    """Fastest implementation of attention here, as `attn_implementation` of `from_pretrained`.

    On a processor plain products beat the fused kernel, whose backward pass took three times as long at 26 tokens and
    twice as long at 256, its forward pass in bf16 1.4 times as long (docs/benchmarks.md). On a GPU the fused kernel, the
    library's choice, is faster.
    """
    return None if torch.cuda.is_available() else "eager"


def chosen_precision(setting: str) -> str:
    """ "bf16" or "fp32" for `train.precision`; `auto` takes bf16 only if it is clearly faster here.

    A processor can list bf16 and yet be slower with it (github.com/pytorch/pytorch/issues/86270).
    """
    if setting != "auto":
        return setting
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if bf16_gain() >= BF16_MARGIN else "fp32"


@contextlib.contextmanager
def fast_fp32() -> Iterator[None]:
    """Block in which oneDNN computes fp32 products, if it is clearly faster here than torch's default and as exact.

    MKL, the default, reaches half of an AMD processor's speed. torch passes fp32 products to oneDNN only together with
    the permission to round to bf16. Processors with matrix units (AMX) would round, so nothing changes there.
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
    """Time of `before` divided by the time of `after`: the best of several alternating rounds of each.

    It is the processor's time of one thread. Next to other programs, threads that wait for each other made the same ratio
    anything between 0.25 and 9.
    """
    best, threads = {}, torch.get_num_threads()
    torch.set_num_threads(1)
    begun = time.thread_time()
    try:
        for done in range(ROUNDS):
            if done >= FEWEST_ROUNDS and time.thread_time() - begun > BUDGET:
                break
            for call in (before, after):
                started = time.thread_time()
                call()
                spent = time.thread_time() - started
                best[call] = min(spent, best.get(call, spent))
    finally:
        torch.set_num_threads(threads)
    return best[before] / best[after]
