"""The fine-tuned model on test rows with several labels per text: the same files as for one label, with the scores of sets.

A decision is one label of one text; the scores of probabilities are over all decisions.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from finetune.base.files import write_csv
from finetune.base.params_results import Decide, Evaluate
from finetune.encoder.prediction import logits
from finetune.evaluation.calibration import TEMPERATURES, probability_scores, selective_accuracy, selective_curve
from finetune.evaluation.evaluated import Baselines, Evaluated
from finetune.evaluation.headline import rows_digest
from finetune.evaluation.plots import plot_name
from finetune.evaluation.resampling import areas, score_intervals
from finetune.evaluation.review_lists import duplicate_rows
from finetune.evaluation.slices import slice_metrics, slice_names, slice_scores
from finetune.rows.form import Form
from finetune.rows.stored import label_matrix, label_names, token_ids
from finetune.scoring.curves import confidence_bins, one_vs_rest, precision_recall, roc
from finetune.scoring.intervals import paired_gain
from finetune.scoring.label_sets import (
    best_thresholds,
    ends,
    resample_counts,
    resampled_sets,
    set_block,
    set_gains,
    set_intervals,
    set_words,
)


def label_temperatures(truth: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Temperature of each label that minimises its log loss on these rows; 1 where no row has the label, or all have it.

    Guo et al. 2017, for each label as a problem of its own.
    """

    def loss(exponent: float, has: np.ndarray, label_logits: np.ndarray) -> float:
        signed = np.where(has, label_logits, -label_logits) / np.exp(exponent)
        return np.logaddexp(0, -signed).mean()

    temperatures = np.ones(truth.shape[1])
    for label, has in enumerate(truth.T):
        if 0 < has.sum() < len(has):
            label_logits = logits[:, label].astype(np.float64)
            found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), args=(has, label_logits), method="bounded")
            temperatures[label] = np.exp(found.x)
    return temperatures


def decisions(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each label of each row as a question with two answers: 0 or 1, and the probabilities of both."""
    flat = probabilities.ravel()
    return truth.ravel().astype(np.int64), np.column_stack([1 - flat, flat])


def probability_block(truth: np.ndarray, before: np.ndarray, after: np.ndarray, bins: int) -> tuple[dict, dict]:
    """Scores of the probabilities with those before calibration, and the intervals of the former, over whole rows."""
    shipped, trained = decisions(truth, after), decisions(truth, before)
    rows = np.repeat(np.arange(len(truth)), truth.shape[1])
    intervals = score_intervals(*shipped, bins, rows)
    pairs = one_vs_rest(truth, after)
    blocks = [[areas(counts, *pair) for pair in pairs] for counts in resample_counts(len(truth))]
    resampled = np.nanmean(np.concatenate(blocks, axis=1), axis=0)
    block = {
        **probability_scores(*shipped, confidence_bins(*shipped, bins)),
        "roc_auc": float(np.mean([roc_auc_score(has, score) for has, score in pairs])),
        "uncalibrated": probability_scores(*trained, confidence_bins(*trained, bins)),
    }
    return block, {name: intervals[name] for name in ("log_loss", "brier", "ece")} | {"roc_auc": ends(resampled)}


def surest_sets(right: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Right (True) or wrong (False) of every row, the row whose least sure label is surest first.

    A label is the surer, the farther its probability is from its threshold, relative to the way to 0 or 1.
    """
    way = np.where(probabilities >= thresholds, 1 - thresholds, thresholds)
    sureness = (np.abs(probabilities - thresholds) / np.maximum(way, 1e-12)).min(1)
    return right[np.argsort(-sureness, kind="stable")]


def set_slices(rows: Dataset, right: np.ndarray, truth: np.ndarray, settings: Evaluate) -> dict[str, dict[str, dict]]:
    """Share of rows with exactly the right set in each slice; in place of labels, slices by the number of labels."""
    counts = ["none" if count == 0 else "1" if count == 1 else "2 or more" for count in truth.sum(1)]
    kinds = slice_names(
        texts=rows["text"][:],
        lengths=token_ids(rows).lengths,
        truncated=rows["truncated"][:],
        labels=counts,
        groups=rows["group"][:],
        negations=settings.slices.negations,
    )
    return slice_scores(right, kinds, settings.slices.min_rows)


def mistakes(
    rows: Dataset, truth: np.ndarray, answers: np.ndarray, probabilities: np.ndarray, count: int
) -> list[list]:
    """Rows with a wrong set, first those with the surest wrong label: row, its probability, true set, answered set, text."""
    names = label_names(rows)
    wrong_by = np.where(truth != answers, np.abs(probabilities - truth), 0).max(1)
    wrong = np.flatnonzero(wrong_by > 0)
    wrong = wrong[np.argsort(-wrong_by[wrong], kind="stable")][:count]
    ids, texts = rows["row"][:], rows["text"][:]
    return [
        [ids[at], wrong_by[at], set_words(truth[at], names), set_words(answers[at], names), texts[at]]
        for at in wrong.tolist()
    ]


def score_label_sets(
    model,
    tokenizer,
    splits: dict[str, Dataset],
    _form: Form,
    baselines: Baselines,
    settings: Evaluate,
    _decide: Decide,
) -> Evaluated:
    """As `finetune.evaluation.one_label.score_one_label`, without behaviour, doubtful labels and rules for decisions.

    The logits are calibrated: each label's logit is divided by its temperature, as the exported model has it in its weights.
    """
    validation, test = splits["validation"], splits["test"]
    names, truth = label_names(test), label_matrix(test)
    raw = {
        name: logits(model, token_ids(splits[name]), tokenizer.pad_token_id, desc=name)
        for name in ("validation", "test")
    }
    temperatures = label_temperatures(label_matrix(validation), raw["validation"])
    scaled = {name: rows / temperatures.astype(np.float32) for name, rows in raw.items()}
    after = {name: expit(rows.astype(np.float64)) for name, rows in scaled.items()}
    thresholds = best_thresholds(label_matrix(validation), after["validation"])
    answers = after["test"] >= thresholds
    right = (answers == truth).all(1)

    block = set_block(truth, answers, after["test"], names)
    ours, answered = resampled_sets(truth, answers, after["test"]), baselines.answers()
    gains = {
        name: set_gains(block, set_block(truth, theirs, scores, names), ours, resampled_sets(truth, theirs, scores))
        for name, (scores, theirs) in answered.items()
    }
    scores, intervals = probability_block(truth, expit(raw["test"].astype(np.float64)), after["test"], settings.bins)
    slices = set_slices(test, right, truth, settings)
    duplicates, duplicate_list = duplicate_rows(splits, settings.checks.similarity)
    uncalibrated = scores.pop("uncalibrated")
    by_label = dict(zip(names, temperatures.tolist(), strict=True))
    headline = {
        **block,
        "gain": paired_gain(right, (answered[baselines.best][1] == truth).all(1)),
        "gains": gains,
        **scores,
        "intervals": set_intervals(ours, block["interval"]) | intervals,
        "calibration": {"temperatures": by_label, "uncalibrated": uncalibrated},
        "thresholds": dict(zip(names, thresholds.tolist(), strict=True)),
        "selective": selective_accuracy(surest_sets(right, after["test"], thresholds)),
        "rows_digest": rows_digest(test["text"][:], [set_words(row, names) for row in truth]),
    }
    metrics = {
        "test": headline,
        "slices": slice_metrics(slices, settings.slices.min_rows),
        "behaviour": {},
        "checks": {"near_duplicates": duplicates, "suspicious_labels": {}},
    }
    tables = {
        "mistakes": mistakes(test, truth, answers, after["test"], settings.mistakes),
        "behaviour": [],
        "near_duplicates": duplicate_list,
        "suspicious_labels": [],
    }
    predicted = pa.array([np.flatnonzero(row) for row in answers], pa.list_(pa.int64()))
    before = expit(raw["test"].astype(np.float64))
    return Evaluated(scaled["test"], before, after["test"], predicted, slices, metrics, tables)


def write_label_set_plots(folder: Path, test: Dataset, evaluated: Evaluated, bins: int):
    """Data of the plots that dvc.yaml declares, and the scores of each label; a confusion matrix of sets would say little."""
    truth = label_matrix(test)
    scores = evaluated.metrics["test"]
    write_csv(folder / "confusion.csv", ["actual", "predicted"], [])
    write_csv(folder / "roc.csv", ["false_positive_rate", "fine-tuned"], roc(truth, evaluated.calibrated))
    write_csv(folder / "precision_recall.csv", ["recall", "fine-tuned"], precision_recall(truth, evaluated.calibrated))
    before = confidence_bins(*decisions(truth, evaluated.probabilities), bins)
    after = confidence_bins(*decisions(truth, evaluated.calibrated), bins)
    filled = before[before[:, 2:].sum(1) > 0]
    write_csv(
        folder / "reliability.csv",
        ["confidence", "accuracy", "calibrated"],
        ([mean, share, mean] for mean, share, *_ in filled),
    )
    write_csv(folder / "reliability_scaled.csv", ["confidence", "accuracy"], after[after[:, 2:].sum(1) > 0, :2])
    middles = (np.arange(bins) + 0.5) / bins
    write_csv(
        folder / "confidence.csv",
        ["confidence", "right", "wrong"],
        np.column_stack([middles, after[:, 2:]])[middles > 0.5],
    )
    thresholds = np.array(list(scores["thresholds"].values()))
    right = ((evaluated.calibrated >= thresholds) == truth).all(1)
    kept = selective_curve(surest_sets(right, evaluated.calibrated, thresholds))
    write_csv(folder / "selective.csv", ["coverage", "accuracy", "low", "high"], kept)
    keys = ("precision", "recall", "f1", "average_precision", "rows")
    write_csv(
        folder / "labels.csv",
        ["label", *keys, "threshold"],
        (
            [plot_name(name), *(entry[key] for key in keys), scores["thresholds"][name]]
            for name, entry in scores["per_class"].items()
        ),
    )


def label_set_lines(scores: dict, best: str) -> list[str]:
    """For the terminal: the scores of sets, with the gain in micro F1 over the best baseline."""
    gain = scores["gains"][best]["micro_f1"]
    return [
        f"test micro F1 {scores['micro_f1']:.3f}, macro F1 {scores['f1']:.3f}, exactly right {scores['accuracy']:.3f}; micro F1 "
        f"{100 * gain['value']:+.1f} points over {best} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
    ]
