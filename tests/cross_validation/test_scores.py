"""Scores over all folds, worked out by hand."""

import numpy as np
import pytest

from finetune.base.errors import UserError
from finetune.cross_validation.answers import Answered, Answers, write_answers
from finetune.cross_validation.intervals import accuracy_interval, gain
from finetune.cross_validation.scores import pooled_draws, pooled_scores
from finetune.cross_validation.task import OneLabel, SeveralLabels
from finetune.evaluation.resampling import HIGHER_IS_BETTER
from finetune.evaluation.spreadsheet import read_spreadsheet
from finetune.scoring.intervals import paired_gain, share_interval

NAMES = ["bad", "good"]


def one_hot(answers: list[int]) -> Answered:
    """Answers, each with a probability of 0.9."""
    return Answered(np.where(np.eye(2)[answers] == 1, 0.9, 0.1), np.array(answers))


def fold(rows: list[int], labels: list[int], ours: list[int], theirs: list[int], groups=None, **changes) -> Answers:
    """A fold with two baselines: majority, always the second label, and tfidf with the answers `theirs`."""
    right = {name: np.mean(np.array(answers) == labels) for name, answers in (("test", ours), ("tfidf", theirs))}
    test = dict.fromkeys(HIGHER_IS_BETTER, 0.5) | {"accuracy": right["test"]}
    baseline = {"majority": {"accuracy": np.mean(labels), "f1": 0.3}, "tfidf": {"accuracy": right["tfidf"], "f1": 0.5}}
    whole = Answers(
        task=OneLabel,
        rows=np.array(rows),
        labels=np.array(labels),
        texts=[f"text {row}" for row in rows],
        groups=groups or [None] * len(rows),
        ours=one_hot(ours),
        baselines={"majority": one_hot([1] * len(rows)), "tfidf": one_hot(theirs)},
        label_names=NAMES,
        metrics={"test": test, "baseline": baseline},
    )
    return whole._replace(**changes)


# 3 of 4 and 1 of 2 are right: 4 of 6 rows, while the mean over folds is 0.625. TF-IDF is right on 2 and 1: 3 of 6.
FOLDS = [
    fold([0, 2, 3, 5], [0, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]),
    fold([1, 4], [1, 0], [1, 1], [0, 0]),
]


def test_every_row_counts_once_whatever_the_size_of_its_fold():
    scores = pooled_scores(FOLDS, bin_count=10)
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["interval"] == scores["intervals"]["accuracy"] == share_interval(4, 6)
    assert scores["rows"] == 6
    assert (scores["folds"], scores["fold_rows"], scores["groups"]) == (2, [4, 2], None)
    # 2 negative rows are answered positive, none the other way: precision 1 and 3 / 5, recall 1 / 3 and 1.
    assert scores["per_class"]["bad"]["recall"] == pytest.approx(1 / 3)
    assert scores["precision"] == pytest.approx((1 + 3 / 5) / 2)
    assert set(scores["intervals"]) == set(HIGHER_IS_BETTER) == set(scores["mean"])
    # All probabilities of the answers are 0.9, and 2 of 6 are wrong: the gap is 0.9 - 4 / 6.
    assert scores["ece"] == pytest.approx(0.9 - 4 / 6)
    # 4 rows lose -ln 0.9, 2 rows -ln 0.1.
    assert scores["log_loss"] == pytest.approx(-(4 * np.log(0.9) + 2 * np.log(0.1)) / 6)


def test_mean_and_spread_are_over_the_folds():
    """0.75 and 0.5: mean 0.625, and a standard deviation of 0.25 / √2."""
    scores = pooled_scores(FOLDS, bin_count=10)
    assert scores["values"]["accuracy"] == [0.75, 0.5]
    assert scores["mean"]["accuracy"] == pytest.approx(0.625)
    assert scores["spread"]["accuracy"] == pytest.approx(0.25 / 2**0.5)


def test_the_best_baseline_is_that_of_all_rows():
    """Majority is right on 2 + 1 rows, TF-IDF on 2 + 1: the first of equals, as in `baseline_eval`."""
    scores = pooled_scores(FOLDS, bin_count=10)
    assert {name: block["accuracy"] for name, block in scores["baselines"].items()} == {"majority": 0.5, "tfidf": 0.5}
    assert scores["best"] == "majority"
    ours = np.array([True, True, True, False, True, False])
    theirs = np.array([False, True, True, False, True, False])
    assert scores["gain"] == paired_gain(ours, theirs)
    better = [FOLDS[0], FOLDS[1]._replace(baselines=FOLDS[1].baselines | {"tfidf": one_hot([1, 0])})]
    assert pooled_scores(better, bin_count=10)["best"] == "tfidf"


def test_a_baseline_that_a_fold_skipped_is_left_out_with_its_reason():
    metrics = FOLDS[1].metrics | {"baseline": FOLDS[1].metrics["baseline"] | {"skipped": {"tfidf": "no words"}}}
    lacking = FOLDS[1]._replace(baselines={"majority": FOLDS[1].baselines["majority"]}, metrics=metrics)
    scores = pooled_scores([FOLDS[0], lacking], bin_count=10)
    assert list(scores["baselines"]) == ["majority"]
    assert scores["skipped"] == {"tfidf": "no words"}


def test_folds_that_share_a_row_are_refused():
    with pytest.raises(UserError, match="the folds are not of one split"):
        pooled_scores([FOLDS[0], FOLDS[0]], bin_count=10)


def test_groups_are_resampled_as_wholes():
    """Ten groups of ten rows, five all right and five all wrong: as uncertain as 5 of 10, not as 50 of 100."""
    right = np.repeat([True, False] * 5, 10)
    groups = np.repeat(np.arange(10), 10)
    ends = accuracy_interval(right, groups)
    assert ends["low"] == pytest.approx(0.2, abs=0.051)
    assert ends["high"] == pytest.approx(0.8, abs=0.051)
    rows = accuracy_interval(right, None)
    assert rows == share_interval(50, 100)
    assert ends["high"] - ends["low"] > 2.5 * (rows["high"] - rows["low"])
    assert accuracy_interval(np.repeat(True, 100), groups) == share_interval(10, 10)


def test_the_gain_with_groups_has_no_p_value_and_a_width_where_nothing_differs():
    groups = np.repeat(np.arange(10), 10)
    ours = np.repeat([True, True, True, False, True] * 2, 10)
    theirs = np.repeat([True, False, True, False, True] * 2, 10)
    wide = gain(ours, theirs, groups)
    assert set(wide) == {"value", "low", "high"}
    assert wide["value"] == pytest.approx(0.2)
    assert wide["low"] == pytest.approx(0, abs=0.051)
    same = gain(ours, ours, groups)
    assert same["value"] == 0
    assert same["low"] < -0.1
    assert same["high"] > 0.1


def test_groups_are_counted_once_over_all_folds():
    first = fold([0, 1], [0, 1], [0, 1], [0, 0], groups=["a", "a"])
    second = fold([2, 3, 4], [0, 1, 1], [0, 1, 0], [0, 0, 1], groups=["b", None, None])
    assert pooled_scores([first, second], bin_count=10)["groups"] == 4


def test_few_shot_is_a_mean_over_draws_by_the_rows_of_the_folds():
    """0.8 on 30 rows and 0.4 on 10: 0.7. Half widths 0.1 and 0.2: √((0.75 * 0.1)² + (0.25 * 0.2)²) = 0.0901."""
    blocks = [
        {"accuracy": 0.8, "f1": 0.6, "interval": {"low": 0.7, "high": 0.9}},
        {"accuracy": 0.4, "f1": 0.2, "interval": {"low": 0.2, "high": 0.6}},
    ]
    pooled = pooled_draws(blocks, [30, 10])
    assert pooled["accuracy"] == pytest.approx(0.7)
    assert pooled["f1"] == pytest.approx(0.5)
    assert pooled["interval"] == pytest.approx({"low": 0.7 - 0.09014, "high": 0.7 + 0.09014}, abs=1e-5)


def test_the_listing_has_every_row_in_order_and_no_formula(tmp_path):
    folds = [FOLDS[0]._replace(texts=["=1+1", "b", "c", "d"]), FOLDS[1]]
    _, listing = write_answers(folds, tmp_path)
    rows = read_spreadsheet(listing.read_text())
    assert [(row["row"], row["fold"], row["label"], row["predicted"]) for row in rows] == [
        ("0", "0", "bad", "bad"),
        ("1", "1", "good", "good"),
        ("2", "0", "good", "good"),
        ("3", "0", "good", "good"),
        ("4", "1", "bad", "good"),
        ("5", "0", "bad", "good"),
    ]
    assert rows[0]["text"] == "=1+1"
    assert "'=1+1" in listing.read_text()
    assert {key: rows[0][key] for key in ("probability of bad", "probability of good")} == {
        "probability of bad": "0.9",
        "probability of good": "0.1",
    }


def test_sets_of_labels_are_pooled_with_the_answers_of_each_folds_thresholds(tmp_path):
    """Three of four sets are right. Micro F1: 3 of 4 answered labels and 3 of 3 true ones are right, 2 * 3 / (4 + 3)."""

    def part(rows: list[int], truth: list, answers: list) -> Answers:
        answered = Answered(np.where(answers, 0.4, 0.2), np.array(answers, bool))  # thresholds below 0.4
        test = dict.fromkeys(SeveralLabels.scores, 0.5)
        return Answers(
            task=SeveralLabels,
            rows=np.array(rows),
            labels=np.array(truth, bool),
            texts=[f"text {row}" for row in rows],
            groups=[None] * len(rows),
            ours=answered,
            baselines={"majority": Answered(np.full((len(rows), 2), 0.3), np.zeros((len(rows), 2), bool))},
            label_names=NAMES,
            metrics={"test": test, "baseline": {"majority": dict.fromkeys(SeveralLabels.brief, 0.25)}},
        )

    folds = [part([0, 3], [[1, 0], [0, 0]], [[1, 0], [0, 1]]), part([1, 2], [[0, 1], [1, 0]], [[0, 1], [1, 0]])]
    scores = pooled_scores(folds, bin_count=10)
    assert scores["accuracy"] == 0.75
    assert scores["interval"] == scores["intervals"]["accuracy"] == share_interval(3, 4)
    assert scores["micro_f1"] == pytest.approx(6 / 7)
    assert scores["hamming_loss"] == pytest.approx(1 / 8)
    # Six of eight decisions are sure of what is right: -ln 0.4 of three, -ln 0.8 of four, and -ln 0.6 of the wrong one.
    assert scores["log_loss"] == pytest.approx(-(3 * np.log(0.4) + 4 * np.log(0.8) + np.log(0.6)) / 8)
    assert set(scores["intervals"]) == set(SeveralLabels.scores)
    assert scores["baselines"]["majority"]["accuracy"] == 0.25  # the row without a label
    assert scores["gain"] == paired_gain(np.array([1, 0, 1, 1], bool), np.array([0, 1, 0, 0], bool))
    _, listing = write_answers(folds, tmp_path)
    rows = read_spreadsheet(listing.read_text())
    assert [(row["label"], row["predicted"]) for row in rows] == [
        ("bad", "bad"),
        ("good", "good"),
        ("bad", "bad"),
        ("(none)", "good"),
    ]
