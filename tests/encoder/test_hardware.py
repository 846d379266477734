"""The choice of the precision and of the library for fp32 products; no test depends on the real processor's speed."""

import time
from functools import partial

import pytest
import torch

from finetune.encoder import hardware
from finetune.encoder.hardware import bf16_gain, chosen_precision, device_name, fast_fp32, gain


@pytest.mark.parametrize("setting", ["bf16", "fp32"])
def test_a_precision_other_than_auto_is_used_as_it_is(setting):
    assert chosen_precision(setting) == setting


@pytest.mark.parametrize(("gain", "expected"), [(2.6, "bf16"), (1.21, "bf16"), (1.1, "fp32"), (0.5, "fp32")])
def test_auto_takes_bf16_only_if_it_is_clearly_faster(monkeypatch, gain, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("finetune.encoder.hardware.bf16_gain", lambda: gain)
    assert chosen_precision("auto") == expected


@pytest.mark.parametrize(("gpu", "expected"), [(True, "NVIDIA H100 80GB HBM3"), (False, "the processor")])
def test_the_device_is_named_as_the_driver_names_it(monkeypatch, gpu, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: {"cuda:0": "NVIDIA H100 80GB HBM3"}[str(device)])
    assert device_name() == expected


def test_the_gain_of_bf16_compares_products_in_fp32_and_in_bf16(monkeypatch):
    monkeypatch.setattr(hardware, "onednn_helps", lambda: False)
    monkeypatch.setattr(hardware, "gain", lambda before, after: (before().dtype, after().dtype))
    assert bf16_gain() == (torch.float32, torch.bfloat16)


def test_fast_products_are_in_fp32_on_every_processor():
    """Sums of 512 products of standard normal numbers: the error is about 1e-5 in fp32, and 1e-1 with rounding to bf16."""
    random = torch.Generator().manual_seed(1)
    left, right = torch.randn(64, 512, generator=random), torch.randn(512, 64, generator=random)
    with fast_fp32():
        error = (left @ right - left.double() @ right.double()).abs().max()
    assert error < 2e-4


@pytest.mark.parametrize("helps", [True, False])
def test_a_block_uses_onednn_if_it_helps_and_restores_the_setting(monkeypatch, helps):
    monkeypatch.setattr(hardware, "onednn_helps", lambda: helps)
    products = torch.backends.mkldnn.matmul
    before = products.fp32_precision
    assert before != "bf16"
    with fast_fp32():
        assert products.fp32_precision == ("bf16" if helps else before)
    assert products.fp32_precision == before


@pytest.mark.parametrize(("rounds", "gain", "helps"), [(False, 2.0, True), (False, 1.3, False), (True, 2.0, False)])
def test_onednn_helps_if_it_is_faster_and_as_exact(monkeypatch, rounds, gain, helps):
    """The processor is simulated: with matrix units (AMX), it rounds to bf16 as soon as torch permits it."""

    def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if rounds and left.dtype == torch.float32 and torch.backends.mkldnn.matmul.fp32_precision == "bf16":
            left, right = left.bfloat16(), right.bfloat16()
        return torch.einsum("ij,jk->ik", left.double(), right.double())

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    monkeypatch.setattr(hardware, "gain", lambda *_: gain)
    assert hardware.onednn_helps.__wrapped__() == helps


def test_a_gain_is_the_ratio_of_the_best_rounds(monkeypatch):
    """Rounds of 3 and 1 seconds on a simulated clock, some of them disturbed: 3 / 1."""
    seconds = {"now": 0.0}
    monkeypatch.setattr(hardware.time, "thread_time", lambda: seconds["now"])
    slow, fast = iter([9, 3] * hardware.ROUNDS), iter([1, 8] * hardware.ROUNDS)

    def call(spent):
        return lambda: seconds.update(now=seconds["now"] + next(spent))

    assert gain(call(slow), call(fast)) == 3


def test_a_gain_counts_neither_waiting_nor_other_threads():
    """The same products on both sides, about 2 ms; one side also waits for 30 ms, as next to another program."""
    left, threads, seen = torch.ones(256, 256), torch.get_num_threads(), set()

    def products():
        seen.add(torch.get_num_threads())
        for _ in range(4):
            left @ left

    def waits():
        products()
        time.sleep(0.03)

    torch.set_num_threads(2)
    try:
        assert 0.4 < gain(waits, products) < 2.5
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert seen == {1}


@pytest.mark.parametrize(("seconds", "rounds"), [(0.5, 3), (0.04, 7), (0.001, 15)])
def test_slow_rounds_are_few(monkeypatch, seconds, rounds):
    """On a simulated clock; 0.5 s are spent after 13 calls of 0.04 s, in the seventh round."""
    clock, calls = {"now": 0.0}, []

    def call():
        calls.append(1)
        clock["now"] += seconds

    monkeypatch.setattr(hardware.time, "thread_time", lambda: clock["now"])
    assert gain(call, partial(call)) == 1
    assert len(calls) == 2 * rounds
