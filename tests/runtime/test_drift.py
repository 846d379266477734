"""Drift of a server's texts from the validation texts: by hand, by simulation, with the tiny model."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2

from finetune.runtime import drift
from finetune.runtime.classifier import Classifier
from finetune.runtime.drift import FALSE_ALARM, PROFILE, Window, counts, distance, features, noise, profile
from finetune.runtime.reading import Reader, Reading, unknown_id
from tests.support.tiny import BAD, GOOD, deberta_tokenizer, reviews, trained_bpe

pytestmark = pytest.mark.xdist_group("serve")


@pytest.fixture(scope="module")
def classifier(learnt):
    return Classifier(learnt, threads=1)


@pytest.fixture(scope="module")
def reference(learnt) -> dict:
    return json.loads((learnt / PROFILE).read_text(encoding="utf-8"))


def window_of(classifier, reference, texts: list[str], size: int = 600) -> Window:
    """A window after these texts were answered."""
    readings = Reader(classifier).read(texts)
    window = Window(reference, size)
    window.add(readings, classifier.answer([reading.ids for reading in readings]))
    return window


def drifted(window: Window) -> set[str]:
    """Features of a window that are beyond their limit."""
    return {name for name in window.features if window.distance(name) > window.limit(name)}


def texts_of(rows: list[dict]) -> list[str]:
    return [row["text"] for row in rows]


def test_other_texts_of_the_same_kind_are_no_drift(classifier, reference):
    window = window_of(classifier, reference, texts_of(reviews(600, seed=77)))
    assert drifted(window) == set()
    assert window.verdict() == "none"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # Three in four are bad instead of one in two.
        (lambda rows: [row for row in rows if row["label"] == "bad" or hash_of(row) % 3 == 0], "label"),
        (lambda rows: [row | {"text": f"{row['text']} {row['text']} {row['text']}"} for row in rows], "length"),
        (lambda rows: [row | {"text": f"{row['text']} 这部电影 quel ennui"} for row in rows], "unknown"),
        # Neither good nor bad: the telling words are removed.
        (lambda rows: [row | {"text": without_verdict(row["text"])} for row in rows], "confidence"),
    ],
)
def test_other_labels_longer_texts_foreign_words_and_unsure_answers_are_drift(classifier, reference, change, expected):
    rows = change(reviews(900, seed=78))[:600]
    window = window_of(classifier, reference, texts_of(rows))
    assert expected in drifted(window)
    assert window.verdict() == "drift"


def hash_of(row: dict) -> int:
    """A number that is the same on every run."""
    return sum(map(ord, row["text"]))


def without_verdict(text: str) -> str:
    return " ".join(word for word in text.split() if word not in GOOD + BAD) or "the"


def test_there_is_no_verdict_before_enough_texts(classifier, reference):
    texts = [f"{text} 电影 电影" for text in texts_of(reviews(200, seed=79))]
    few = window_of(classifier, reference, texts[:199])
    assert drifted(few)
    assert few.verdict() == "too few texts"
    assert window_of(classifier, reference, texts).verdict() == "drift"


def test_a_small_window_judges_once_it_is_full(classifier, reference):
    texts = [f"{text} 电影 电影" for text in texts_of(reviews(50, seed=79))]
    assert window_of(classifier, reference, texts[:49], size=50).verdict() == "too few texts"
    assert window_of(classifier, reference, texts, size=50).verdict() == "drift"


def test_old_texts_leave_the_window(classifier, reference):
    """500 strange texts and then 300 usual ones in a window of 300 leave what the 300 alone leave."""
    usual = texts_of(reviews(300, seed=80))
    strange = [f"{text} 电影" for text in texts_of(reviews(500, seed=81))]
    after, alone = (window_of(classifier, reference, texts, size=300) for texts in (strange + usual, usual))
    assert {name: +count for name, count in after.counts.items()} == {
        name: +count for name, count in alone.counts.items()
    }
    assert after.verdict() == "none"


def test_the_profile_counts_labels_tenths_and_unknown_tokens():
    """Ten texts of 1 to 9 and 20 tokens: an edge after each length but the last; one unknown token of 20 is 5%."""
    readings = [Reading([], length, 0, False) for length in range(1, 10)] + [Reading([], 20, 1, False)]
    probabilities = np.array([[0.9, 0.1]] * 7 + [[0.2, 0.8]] * 3)
    found = profile(["a", "b"], readings, probabilities)
    assert found["features"]["label"]["counts"] == [7, 3]
    assert found["features"]["length"] == {"edges": list(range(1, 10)), "counts": [1] * 10}
    assert found["features"]["unknown"]["counts"] == [9, 1, 0]
    assert found["features"]["confidence"]["edges"] == [0.8, 0.9]
    assert found["mean"]["length"] == 65 / 10
    assert found["mean"]["unknown"] == 1 / 65


def test_the_profile_of_label_sets_counts_the_leading_label_none_and_how_many_there_are():
    """Thresholds 0.5 and 0.25. Ten texts: 3 with neither label, 5 with both, of which the second leads (0.5 - 0.25 > 0.6 - 0.5),
    2 with the first. The least certain decision is 0.6 right for none (0.4 and 0.1), 0.5 for both, 0.7 for the first.
    """
    readings = [Reading([], 5, 0, False)] * 10
    probabilities = np.array([[0.4, 0.1]] * 3 + [[0.6, 0.5]] * 5 + [[0.7, 0.1]] * 2)
    thresholds = np.array([0.5, 0.25])
    found = profile(["a", "b"], readings, probabilities, thresholds)["features"]
    assert found["label"] == {"edges": [0.5, 1.5], "counts": [2, 5, 3]}
    assert found["labels"] == {"edges": [0, 1, 2], "counts": [3, 2, 5, 0]}
    assert found["confidence"] == {"edges": [0.5, 0.6, 0.7], "counts": [5, 3, 2, 0]}
    window = Window(profile(["a", "b"], readings * 60, np.repeat(probabilities, 60, 0), thresholds), 600, thresholds)
    window.add(readings * 60, np.repeat(probabilities, 60, 0))
    assert drifted(window) == set()
    # Three texts in ten that had no label get the first: the number and the leading label drift.
    window.add(readings * 60, np.repeat(np.where(probabilities == 0.4, 0.6, probabilities), 60, 0))
    assert {"label", "labels"} <= drifted(window)


def test_length_is_counted_before_the_cut_and_unknown_words_are_found(classifier):
    long, foreign = Reader(classifier).read(["the film " * 100, "the 电影 is quelque chose"])
    assert (long.length, len(long.ids), long.truncated) == (200, classifier.max_length, True)
    # BERT takes Chinese letter by letter: 2 and 2 French words are unknown, "the" and "is" are not.
    assert (foreign.length, foreign.unknown, foreign.truncated) == (6, 4, False)
    assert Reader(classifier).read(["the film"])[0].ids == classifier.encode(["the film"])[0]


def test_a_byte_level_vocabulary_knows_everything():
    assert unknown_id(SimpleNamespace(tokenizer=trained_bpe(["[PAD]"]))) is None
    assert unknown_id(SimpleNamespace(tokenizer=deberta_tokenizer().backend_tokenizer)) == 3  # [PAD] [CLS] [SEP] [UNK]


def test_the_distance_is_that_of_jensen_and_shannon():
    """Shares (1, 0) and (1/2, 1/2): the middle is (3/4, 1/4); (log2(4/3) + log2(2/3)/2 + 1/2)/2 = 0.3113 bits."""
    by_hand = (math.log2(4 / 3) + math.log2(2 / 3) / 2 + 0.5) / 2
    assert distance([4, 0], [3, 3]) == pytest.approx(math.sqrt(by_hand))
    assert distance([5, 0], [0, 2]) == 1
    assert distance([2, 6], [1, 3]) == 0
    one, other = [3, 10, 0, 7], [5, 1, 2, 9]
    assert distance(one, other) == pytest.approx(jensenshannon(one, other, base=2))


@pytest.mark.parametrize("bins", [2, 3, 10])
def test_the_noise_bound_is_the_chi_squared_quantile(bins):
    exact = chi2.ppf(1 - FALSE_ALARM, bins - 1) * (1 / 1279 + 1 / 1000) / (8 * math.log(2))
    assert noise(bins, 1279, 1000) == pytest.approx(math.sqrt(exact), rel=0.04)


@pytest.mark.parametrize("probabilities", [[0.1] * 10, [0.58, 0.42], [0.99, 0.007, 0.003]])
def test_samples_of_the_same_shares_stay_below_the_noise_bound(probabilities, monkeypatch):
    """With a false alarm in 100 instead of 10,000, so that 4,000 draws suffice: 40 are expected, 20 more is 3 sigma."""
    monkeypatch.setattr(drift, "FALSE_ALARM", 0.01)
    chance = np.random.default_rng(0)
    ones, others = chance.multinomial(1279, probabilities, 4000), chance.multinomial(1000, probabilities, 4000)
    alarms = sum(
        distance(one, other) > noise(int(((one + other) > 0).sum()), 1279, 1000)
        for one, other in zip(ones, others, strict=True)
    )
    assert alarms <= 60


def test_a_value_on_an_edge_belongs_below_it():
    assert counts(np.array([0.0, 0.04, 0.05, 0.2]), [0.0, 0.05]).tolist() == [1, 2, 1]


def test_a_text_without_tokens_has_no_unknown_share():
    assert features([Reading([1, 2], 0, 0, False)], np.array([[0.5, 0.5]]))["unknown"].tolist() == [0]
