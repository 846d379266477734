"""Texts that are nearly the same in two splits: listed for a person to check; no row is removed."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from datasketch import MinHash, MinHashLSH
from tqdm import tqdm

from finetune.baselines.tfidf import has_spaces
from finetune.scoring.intervals import SEED

# Five characters are about a word and its space; Chinese needs only three, because a character carries more.
SHINGLE_SPACED, SHINGLE_SPACELESS = 5, 3
PERMUTATIONS = 128
# Favour recall: every candidate is verified exactly. Searching 0.05 below the threshold cuts misses at it from 1 in 8 to
# 1 in 20.
ERROR_WEIGHTS = (0.1, 0.9)
MARGIN = 0.05
CANDIDATES = 20  # compared with a row: among thousands of texts from one template, one match is enough
BLOCK = 10_000  # shingles hashed at a time: 5 MB


class Pair(NamedTuple):
    """Two nearly equal texts, by split and position."""

    split: str
    position: int
    other_split: str
    other_position: int
    similarity: float


def normal(text: str) -> str:
    """Text without differences of case and spacing, the form in which `tokenize` compares duplicates."""
    return " ".join(text.casefold().split())


def shingles(text: str, size: int) -> set[str]:
    """All runs of `size` characters; a shorter text is its own only run: ("abcd", 3) -> {"abc", "bcd"}."""
    return {text[start : start + size] for start in range(max(1, len(text) - size + 1))}


def shingle_hashes(text: str, size: int) -> np.ndarray:
    """Distinct 32-bit hashes of the shingles."""
    codes = np.frombuffer(text.ljust(size).encode("utf-32-le"), np.uint32)
    hashes = np.zeros(len(codes) - size + 1, np.uint32)
    for start in range(size):
        hashes = hashes * np.uint32(0x01000193) + codes[start : start + len(hashes)]  # wraps around on purpose
    return np.unique(hashes)


def similarity(one: str, other: str, size: int) -> float:
    """Jaccard similarity of two texts: the share of their shingles that both have."""
    ours, theirs = shingles(normal(one), size), shingles(normal(other), size)
    return len(ours & theirs) / len(ours | theirs)


def min_hash(text: str, size: int, empty: MinHash) -> MinHash:
    """Sketch of a text's shingles; Broder 1997."""
    sketch = empty.copy()
    hashes = shingle_hashes(normal(text), size).tolist()
    for start in range(0, len(hashes), BLOCK):
        sketch.update_batch(hashes[start : start + BLOCK])
    return sketch


def near_duplicates(splits: dict[str, Sequence[str]], threshold: float) -> Iterator[Pair]:
    """For each text the most similar text of each earlier split, if their similarity is at least `threshold`.

    `splits` holds texts by split, in the order train, validation, test. Candidates come from locality
    sensitive hashing (Leskovec et al., "Mining of Massive Datasets", chapter 3), so that time and memory
    grow with the number of texts; the similarity itself is exact.
    """
    size = SHINGLE_SPACED if has_spaces(next(iter(splits.values()))) else SHINGLE_SPACELESS
    empty = MinHash(PERMUTATIONS, seed=SEED, hashfunc=int)
    before: dict[str, MinHashLSH] = {}
    with tqdm(desc="near-duplicates", total=sum(map(len, splits.values())), unit=" rows", disable=None) as bar:
        for split, texts in splits.items():
            index = MinHashLSH(threshold - MARGIN, PERMUTATIONS, weights=ERROR_WEIGHTS)
            for position, text in enumerate(texts):
                sketch = min_hash(text, size, empty)
                for other_split, other_index in before.items():
                    candidates = sorted(other_index.query(sketch))[:CANDIDATES]
                    scores = [(similarity(text, splits[other_split][other], size), -other) for other in candidates]
                    best, other = max(scores, default=(0, 0))
                    if best >= threshold:
                        yield Pair(split, position, other_split, -other, best)
                if split != list(splits)[-1]:
                    index.insert(position, sketch, check_duplication=False)
                bar.update()
            before[split] = index
