"""Near-duplicates across splits."""

import numpy as np
import pytest

from finetune.evaluation.near_duplicates import (
    Pair,
    near_duplicates,
    shingle_hashes,
    shingles,
    similarity,
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
    """abcdef and abcdex share abcde; bcdef and bcdex occur in one each: 1/3. Case and spaces do not count."""
    assert similarity("abcdef", "abcdex", 5) == pytest.approx(1 / 3)
    assert similarity("A  Film\n", "a film", 5) == 1


def test_a_near_duplicate_is_paired_with_the_most_similar_text_of_each_earlier_split():
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
