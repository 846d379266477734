"""What a search proposes: intervals computed by hand, and the sentences for each outcome."""

import pyarrow as pa
import pytest

from finetune.scoring.intervals import paired_interval
from finetune.search.proposal import difference, difference_on_test, in_words


class Predicted:
    """Stands for a revision: its predictions of rows whose label is always 1."""

    def __init__(self, right: str | None, why: str | None = None):
        self.right, self.why_no_predictions = right, why

    def predictions(self) -> pa.Table | None:
        if self.right is None:
            return None
        answers = [int(sign == "+") for sign in self.right]
        return pa.table({"row": list(range(len(answers))), "label": [1] * len(answers), "predicted": answers})


def test_the_interval_between_seeds_is_welch_s():
    """0.80, 0.82 against 0.84, 0.86: both variances are 0.0002, so the standard error is √0.0002 = 0.014142 with 2 degrees of
    freedom, and 4.302653 times that is 0.060849."""
    found = difference([0.80, 0.82], [0.84, 0.86], "validation.accuracy")
    assert found == pytest.approx({"value": 0.04, "low": -0.020849, "high": 0.100849, "assumed": None}, abs=1e-6)


@pytest.mark.parametrize(("theirs", "ours", "half"), [([0.80], [0.84], 0.027718), ([0.80] * 4, [0.84] * 4, 0.013859)])
def test_without_a_spread_the_gate_s_is_assumed(theirs, ours, half):
    """1.959964 * 0.01 * √(1 + 1) = 0.027718; with four seeds a side, which all agree, √(1/4 + 1/4) gives half of it."""
    found = difference(theirs, ours, "validation.accuracy")
    assert found == pytest.approx({"value": 0.04, "low": 0.04 - half, "high": 0.04 + half, "assumed": 0.01}, abs=1e-6)


def test_one_run_each_is_compared_on_test_by_newcombe_s_interval():
    """Of ten rows five are right for both, three only for ours, one only for theirs."""
    found = difference_on_test([Predicted("+++++---+-")], [Predicted("++++++++--")])
    assert found["value"] == pytest.approx(0.2)
    assert found["rows"] == 10
    assert {end: found[end] for end in ("low", "high")} == paired_interval(5, 3, 1, 1)


def test_several_seeds_are_compared_on_test_over_rows_and_seeds():
    """Gains of 2 and 4 of 10 rows: 0.3 in the mean, and the interval covers what either seed says."""
    theirs = [Predicted("++++------")] * 2
    found = difference_on_test(theirs, [Predicted("++++++----"), Predicted("++++++++--")])
    assert found["value"] == pytest.approx(0.3)
    assert found["low"] < 0.2 < 0.4 < found["high"]


def test_answers_that_never_differ_have_an_interval_with_a_width():
    found = difference_on_test([Predicted("+++-")] * 2, [Predicted("+++-")] * 2)
    assert found["value"] == 0
    assert found["low"] < 0 < found["high"]


def test_missing_predictions_are_a_line():
    gone = Predicted(None, "neither DVC's cache nor a remote has it")
    assert difference_on_test([Predicted("+")], [gone]) == {"missing": "neither DVC's cache nor a remote has it"}


FOUND = {
    "trial": 7,
    "experiment": "search-1f6a0c3d",
    "seeds": [43, 44, 45],
    "gain": {"search": 0.018, "validation": {"value": 0.011, "low": 0.003, "high": 0.019, "assumed": None}},
    "adopt": True,
    "test": {"value": 0.004, "low": -0.006, "high": 0.014, "rows": 1276},
}


def test_a_gain_beyond_the_noise_is_proposed_with_its_command():
    assert in_words(FOUND, "validation.accuracy", 20) == [
        "Trial 7 beats the defaults by more than the noise between seeds: validation.accuracy +0.0110 (95% interval +0.0030 "
        "to +0.0190), 3 seeds each that chose nothing.",
        "In the search it differed by +0.0180: the best of 20 trials is optimistic, because luck with rows and seed helped to "
        "choose it.",
        "On the 1276 test rows, which chose nothing: accuracy +0.0040 (95% interval -0.0060 to +0.0140).",
        "Adopt it: `dvc exp apply search-1f6a0c3d`, then `make repro`.",
    ]


def test_a_gain_within_the_noise_is_said_to_be_none():
    measured = {"value": 0.011, "low": -0.003, "high": 0.025, "assumed": 0.01}
    found = FOUND | {"adopt": False, "seeds": [], "gain": {"search": 0.011, "validation": measured}}
    first, *_, last = in_words(found, "validation.accuracy", 20)
    assert first.startswith("No setting beat the defaults by more than the noise between seeds; keep the defaults.")
    assert first.endswith("assuming a spread of 0.01 between seeds; search.seeds is 0.")
    assert last == "To take it all the same: `dvc exp apply search-1f6a0c3d`, then `make repro`."


def test_no_better_trial_is_said_plainly():
    assert in_words(None, "validation.f1", 20) == [
        "No setting beat the defaults on validation.f1 in 20 trials. Keep the defaults."
    ]
