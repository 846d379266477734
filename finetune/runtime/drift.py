"""Drift: a reference profile of the validation texts, and how far later texts are from it."""

import math
import statistics
from collections import Counter, deque
from collections.abc import Sequence

import numpy as np

from finetune.runtime.label_sets import leading
from finetune.runtime.reading import Reading

PROFILE = "profile.json"  # in the exported folder
BINS = 10  # of confidence and length, each holding about a tenth of the reference texts
UNKNOWN = [0.0, 0.05]  # fraction of a text's tokens: none, up to one in twenty, more
WINDOW = 1000  # texts compared
FEWEST = 200  # texts before the first verdict: with fewer, only gross differences exceed the noise
# Chance of a false alarm of one feature on texts like the reference. There are four or five, looked at again in each
# window: about one false alarm in 2,000 windows.
FALSE_ALARM = 1e-4
# Distances up to this are never an alarm: real texts are clustered (all of one film, say), which this noise ignores.
# Reviews of other films were 0.09 apart in length; a label that goes from 50% to 64% of the texts gives 0.1.
SMALL = 0.1


def label_features(probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Features of answers with one label: its id and its probability."""
    return {
        "label": probabilities.argmax(1).astype(float),
        # Rounded, so that another machine's last bits move no text across an edge.
        "confidence": probabilities.max(1).astype(float).round(4),
    }


def set_features(probabilities: np.ndarray, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """Features of answers with several labels: the leading one's id, how many they are, and the least certain decision.

    A text without a label has the next free id. The decision about a label is as certain as the label, or its absence, is
    probable.
    """
    count = (probabilities >= thresholds).sum(1)
    return {
        "label": np.where(count, leading(probabilities, thresholds), len(thresholds)).astype(float),
        "labels": count.astype(float),
        "confidence": np.maximum(probabilities, 1 - probabilities).min(1).astype(float).round(4),
    }


def features(
    readings: Sequence[Reading], probabilities: np.ndarray, thresholds: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Features of each text: those of its answer, its tokens (before the cut), and the fraction of unknown ones.

    `probabilities` have the shape [texts, labels]; `thresholds` are those of a model for several labels per text.
    """
    answered = label_features(probabilities) if thresholds is None else set_features(probabilities, thresholds)
    return answered | {
        "length": np.array([reading.length for reading in readings], float),
        "unknown": np.array([reading.unknown / max(reading.length, 1) for reading in readings]),
    }


def profile(
    labels: list[str], readings: Sequence[Reading], probabilities: np.ndarray, thresholds: np.ndarray | None = None
) -> dict:
    """The reference: for each feature the inner edges of its bins and the texts in each, as JSON values.

    A value that equals an edge is counted in the bin below it.
    """
    values_of = features(readings, probabilities, thresholds)
    tenths = np.arange(1, BINS) / BINS
    ids = len(labels) if thresholds is None else len(labels) + 1  # one more: no label
    fixed = {"label": np.arange(ids - 1) + 0.5, "unknown": np.array(UNKNOWN)}
    edges = {
        name: fixed[name] if name in fixed else np.unique(np.quantile(values, tenths, method="lower"))
        for name, values in values_of.items()
    }
    tokens = sum(reading.length for reading in readings)
    return {
        "texts": len(readings),
        "labels": labels,
        "mean": {
            "confidence": values_of["confidence"].mean(),
            "length": values_of["length"].mean(),
            "unknown": sum(reading.unknown for reading in readings) / max(tokens, 1),
        },
        "features": {
            name: {"edges": edges[name].tolist(), "counts": counts(values, edges[name]).tolist()}
            for name, values in values_of.items()
        },
    }


def counts(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """How many values lie in each bin."""
    return np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)


def distance(one: Sequence[int], other: Sequence[int]) -> float:
    """Jensen-Shannon distance in base 2 of two counts, from 0 (the same proportions) to 1 (nothing in common).

    Endres and Schindelin 2003, "A New Metric for Probability Distributions". Unlike the population stability index it
    needs no invented count for an empty bin.
    """
    p, q = (np.asarray(counted, float) / sum(counted) for counted in (one, other))
    middle = (p + q) / 2

    def bits(probabilities: np.ndarray) -> float:
        filled = probabilities > 0
        return float((probabilities[filled] * np.log2(probabilities[filled] / middle[filled])).sum())

    return math.sqrt(max(0.0, (bits(p) + bits(q)) / 2))


def noise(bin_count: int, reference: int, texts: int) -> float:
    """The distance that two samples from one distribution exceed with probability FALSE_ALARM.

    For samples of n and m, 8 ln 2 d^2 / (1/n + 1/m) follows a chi-squared distribution with bin_count - 1 degrees of
    freedom: the second-order expansion of the divergence is Pearson's statistic. Its quantile is Wilson and Hilferty's
    (1931); the distance is within 4% of the one from the exact quantile.
    """
    freedom = max(bin_count - 1, 1)
    z = statistics.NormalDist().inv_cdf(1 - FALSE_ALARM)
    quantile = freedom * (1 - 2 / (9 * freedom) + z * math.sqrt(2 / (9 * freedom))) ** 3
    return math.sqrt(quantile * (1 / reference + 1 / texts) / (8 * math.log(2)))


class Window:
    """The last texts that were answered, compared with a reference profile.

    `thresholds` are those of a model for several labels per text. Raises ValueError if the profile lacks a feature.
    """

    def __init__(self, reference: dict, size: int = WINDOW, thresholds: np.ndarray | None = None):
        measured = features([], np.empty((0, len(reference["labels"]))), thresholds)
        if missing := measured.keys() - reference["features"].keys():
            raise ValueError(f"without the feature {', '.join(sorted(missing))}")
        self.reference, self.thresholds = reference, thresholds
        self.fewest = min(FEWEST, size)
        self.features: dict[str, dict] = reference["features"]
        self.places: deque[tuple[int, ...]] = deque(maxlen=size)
        self.counts = {name: Counter() for name in self.features}

    def add(self, readings: Sequence[Reading], probabilities: np.ndarray):
        """Adds answered texts; once the window is full, the oldest ones leave it."""
        values_of = features(readings, probabilities, self.thresholds)
        columns = [np.searchsorted(self.features[name]["edges"], values_of[name]).tolist() for name in self.features]
        for bins in zip(*columns, strict=True):
            if len(self.places) == self.places.maxlen:
                for name, bin in zip(self.features, self.places[0], strict=True):
                    self.counts[name][bin] -= 1
            self.places.append(bins)
            for name, bin in zip(self.features, bins, strict=True):
                self.counts[name][bin] += 1

    def distance(self, name: str) -> float:
        """Distance of one feature from the reference; 0 without texts."""
        expected = self.features[name]["counts"]
        return distance(expected, [self.counts[name][bin] for bin in range(len(expected))]) if self.places else 0.0

    def limit(self, name: str) -> float:
        """Distance above which a feature has drifted, for the current number of texts."""
        expected = self.features[name]["counts"]
        used = sum(bool(count or self.counts[name][bin]) for bin, count in enumerate(expected))
        return min(1.0, max(SMALL, noise(used, sum(expected), max(len(self.places), 1))))

    def verdict(self) -> str:
        """ "too few texts", "none" or "drift"."""
        if len(self.places) < self.fewest:
            return "too few texts"
        return "drift" if any(self.distance(name) > self.limit(name) for name in self.features) else "none"
