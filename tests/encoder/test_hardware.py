"""Which precision training takes, and whose fp32 products: chosen by measurements, never at the cost of exactness."""

import pytest
import torch

from finetune.encoder import hardware as precision
from finetune.encoder.hardware import bf16_gain, chosen_precision, fast_fp32, gain


@pytest.mark.parametrize("setting", ["bf16", "fp32"])
def test_a_precision_that_is_asked_for_is_taken(setting):
    assert chosen_precision(setting) == setting


@pytest.mark.parametrize(("gain", "expected"), [(2.6, "bf16"), (1.21, "bf16"), (1.1, "fp32"), (0.5, "fp32")])
def test_auto_takes_bf16_only_where_it_was_measured_to_be_clearly_faster(monkeypatch, gain, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("finetune.encoder.hardware.bf16_gain", lambda: gain)
    assert chosen_precision("auto") == expected


def test_the_gain_of_bf16_is_measured():
    assert 0.01 < bf16_gain() < 100


def test_fast_products_are_in_fp32_and_the_setting_comes_back():
    """Sums of 512 products of standard normal numbers: fp32 errs by about 1e-5, rounding to bf16 by 1e-1."""
    before = torch.backends.mkldnn.matmul.fp32_precision
    random = torch.Generator().manual_seed(1)
    left, right = torch.randn(64, 512, generator=random), torch.randn(512, 64, generator=random)
    with fast_fp32():
        error = (left @ right - left.double() @ right.double()).abs().max()
    assert error < 2e-4
    assert torch.backends.mkldnn.matmul.fp32_precision == before


@pytest.mark.parametrize(("limit", "measured", "helps"), [(1e-3, 2.0, True), (1e-3, 1.3, False), (0.0, 2.0, False)])
def test_onednn_is_taken_where_it_is_faster_and_as_exact(monkeypatch, limit, measured, helps):
    """A processor with matrix units rounds to bf16 on this way: its error is over the limit, however fast it is."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "EXACT", limit)
    monkeypatch.setattr(precision, "gain", lambda *_: measured)
    assert precision.onednn_helps.__wrapped__() == helps


def test_a_gain_is_the_ratio_of_the_best_rounds(monkeypatch):
    """Rounds of 3 and 1 seconds on a clock of our own, some of them disturbed: 3 / 1."""
    seconds = {"now": 0.0}
    monkeypatch.setattr(precision.time, "perf_counter", lambda: seconds["now"])
    slow, fast = iter([9, 3] * precision.ROUNDS), iter([1, 8] * precision.ROUNDS)

    def call(spent):
        return lambda: seconds.update(now=seconds["now"] + next(spent))

    assert gain(call(slow), call(fast)) == 3
