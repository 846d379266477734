"""Near-duplicates and doubtful labels."""

import numpy as np
import pytest

from finetune.evaluation.near_duplicates import (
    Pair,
    folds,
    held_out_probabilities,
    near_duplicates,
    shingle_hashes,
    shingles,
    similarity,
    suspicious_labels,
)

WORDS = [
    "river",
    "stone",
    "cloud",
    "paper",
    "garden",
    "window",
    "candle",
    "market",
    "forest",
    "bridge",
    "silver",
    "winter",
]


def sentences(count: int, seed: int) -> list[str]:
    """Unlike texts of eight words."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, 8)) + f" {seed}{row}" for row in range(count)]


def test_shingles_and_their_hashes_by_hand():
    assert shingles("abcd", 3) == {"abc", "bcd"}
    assert shingles("ab", 3) == {"ab"}
    assert len(shingle_hashes("ababab", 3)) == 2  # aba, bab
    assert len(shingle_hashes("电", 3)) == 1


def test_similarity_is_the_share_of_common_shingles():
    """abcdef and abcdex have abcde in common; bcdef and bcdex are one's own: 1/3. Case and spaces do not count."""
    assert similarity("abcdef", "abcdex", 5) == pytest.approx(1 / 3)
    assert similarity("A  Film\n", "a film", 5) == 1


def test_a_near_duplicate_is_found_with_the_most_similar_text_of_each_split_before():
    base = "The candle by the window of the old market burned until the winter morning came"
    splits = {
        "train": [*sentences(30, 1), base, base + " at last"],
        "validation": [*sentences(10, 2), base + "!"],
        "test": [*sentences(10, 3), base + "?", "short"],
    }
    found = list(near_duplicates(splits, 0.8))
    assert [pair[:4] for pair in found] == [
        ("validation", 10, "train", 30),
        ("test", 10, "train", 30),
        ("test", 10, "validation", 10),
    ]
    assert all(isinstance(pair, Pair) and pair.similarity >= 0.8 for pair in found)
    assert found == list(near_duplicates(splits, 0.8))
    assert list(near_duplicates(splits, 1.0)) == []


def test_near_duplicates_in_chinese():
    text = "这部电影的剧情非常精彩，演员的表演也很出色，值得一看，推荐给所有喜欢悬疑片的朋友们。"
    splits = {
        "train": [text],
        "validation": [text.replace("朋友们", "观众们")],
        "test": ["完全不同的一段文字，说的是天气和旅行。"],
    }
    assert [(pair.split, pair.other_split) for pair in near_duplicates(splits, 0.8)] == [("validation", "train")]


def test_folds_keep_groups_together_and_each_row_is_held_out_once():
    labels = np.arange(40) % 2
    groups = [f"g{row // 4}" if row < 32 else None for row in range(40)]
    held = []
    for fitted, out in folds(labels, groups):
        assert not {groups[row] for row in fitted if groups[row]} & {groups[row] for row in out}
        held += out.tolist()
    assert sorted(held) == list(range(40))


@pytest.mark.parametrize(
    "groups",
    [[None] * 12, ["a"] * 6 + ["b"] * 6, ["a"] * 12],
    ids=["no groups", "a group a label", "one group"],
)
def test_few_rows_are_held_out_without_a_warning(groups):
    texts, labels = sentences(12, 4), np.array([0] * 6 + [1] * 6)
    found = held_out_probabilities(texts, labels, groups, 3)
    if len(set(groups)) == 1 and groups[0]:
        assert found is None
        assert len(suspicious_labels(labels, found)) == 0
    else:
        assert found.sum(1) == pytest.approx(np.ones(12))
        assert (found[:, 2] == 0).all()  # a class without rows


def test_a_class_of_one_row_is_no_obstacle():
    labels = np.array([0] * 6 + [1] * 5 + [2])
    assert held_out_probabilities(sentences(12, 5), labels, [None] * 12, 3).sum(1) == pytest.approx(np.ones(12))


def test_labels_that_were_swapped_are_suspected_first():
    """40 rows of two clearly different classes, two labels swapped by hand."""
    texts = [f"{'river stone' if row % 2 else 'candle market'} {WORDS[row % 7]}" for row in range(40)]
    labels = np.arange(40) % 2
    labels[[6, 21]] = 1 - labels[[6, 21]]
    found = suspicious_labels(labels, held_out_probabilities(texts, labels, [None] * 40, 2))
    assert set(found[:2]) == {6, 21}


@pytest.mark.parametrize("labels", [[0] * 20, [1] * 20, [0] * 19 + [1], [0, 2] * 10])
def test_few_rows_and_missing_classes_raise_no_warning(labels):
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    assert set(suspicious_labels(np.array(labels), shares)) <= set(range(20))
