"""The fine-tuned model on test rows with several labels per text: the same files as for one label, with the scores of sets."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset
from scipy.special import expit

from finetune.base.files import write_csv
from finetune.base.params_results import Decide, Evaluate
from finetune.encoder.prediction import logits
from finetune.evaluation.behaviour import AnswerKind, behaviour_of
from finetune.evaluation.calibration import selective_accuracy, selective_curve
from finetune.evaluation.evaluated import Baselines, Evaluated
from finetune.evaluation.headline import rows_digest
from finetune.evaluation.plots import plot_name
from finetune.evaluation.review_lists import doubtful_set_rows, duplicate_rows, wrong_set_rows
from finetune.evaluation.set_probabilities import (
    decision_scores,
    decisions,
    label_temperatures,
    set_probability_intervals,
    set_probability_scores,
    surest_sets,
)
from finetune.evaluation.slices import slice_metrics, slice_names, slice_scores
from finetune.evaluation.suspicious_labels import held_out_label_probabilities
from finetune.rows.form import Form
from finetune.rows.label_lists import label_lists
from finetune.rows.stored import label_matrix, label_names, token_ids
from finetune.scoring.curves import confidence_bins, precision_recall, roc
from finetune.scoring.intervals import paired_gain
from finetune.scoring.label_sets import (
    best_thresholds,
    resampled_sets,
    set_block,
    set_gains,
    set_intervals,
    set_words,
)


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


class FittedSets(NamedTuple):
    """The model with what validation chose for each label, and its answers to the test rows before and after that."""

    temperatures: np.ndarray  # [labels]
    thresholds: np.ndarray  # [labels]
    logits: np.ndarray  # of the test rows, as trained, [rows, labels]
    calibrated: dict[str, np.ndarray]  # probabilities of validation and test

    @property
    def probabilities(self) -> np.ndarray:
        """Of the test rows, as trained."""
        return expit(self.logits.astype(np.float64))

    def scaled(self, logits: np.ndarray) -> np.ndarray:
        """Logits of the model as it ships, from those of the trained one, both [rows, labels]."""
        return logits / self.temperatures.astype(np.float32)

    def answers(self, logits: np.ndarray) -> np.ndarray:
        """Whether each label is answered, bool of shape [rows, labels], from logits of the trained model."""
        return expit(self.scaled(logits).astype(np.float64)) >= self.thresholds


def fitted_sets(model, tokenizer, splits: dict[str, Dataset]) -> FittedSets:
    """Temperatures and thresholds that suit the validation rows, with the model's answers."""
    raw = {
        name: logits(model, token_ids(splits[name]), tokenizer.pad_token_id, desc=name)
        for name in ("validation", "test")
    }
    truth = label_matrix(splits["validation"])
    temperatures = label_temperatures(truth, raw["validation"])
    calibrated = {
        name: expit((rows / temperatures.astype(np.float32)).astype(np.float64)) for name, rows in raw.items()
    }
    return FittedSets(temperatures, best_thresholds(truth, calibrated["validation"]), raw["test"], calibrated)


def by_label(names: list[str], values: np.ndarray) -> dict[str, float]:
    """The value of each label by its name."""
    return dict(zip(names, values.tolist(), strict=True))


def score_label_sets(
    model,
    tokenizer,
    splits: dict[str, Dataset],
    form: Form,
    baselines: Baselines,
    settings: Evaluate,
    _decide: Decide,
) -> Evaluated:
    """As `finetune.evaluation.one_label.score_one_label`, without rules for decisions and without the edit that negates.

    The logits are calibrated: each label's logit is divided by its temperature, as the exported model has it in its weights.
    """
    train, _, test = splits.values()
    names, truth = label_names(test), label_matrix(test)
    fitted = fitted_sets(model, tokenizer, splits)
    before, after, thresholds = fitted.probabilities, fitted.calibrated, fitted.thresholds
    answers = fitted.answers(fitted.logits)
    right = (answers == truth).all(1)

    block = set_block(truth, answers, after["test"], names)
    ours, answered = resampled_sets(truth, answers, after["test"]), baselines.answers()
    gains = {
        name: set_gains(block, set_block(truth, theirs, scores, names), ours, resampled_sets(truth, theirs, scores))
        for name, (scores, theirs) in answered.items()
    }
    slices = set_slices(test, right, truth, settings)
    how = AnswerKind(fitted.answers, lambda one, other: (one != other).any(1), lambda answer: set_words(answer, names))
    rates, failures = behaviour_of(model, tokenizer, test, answers, how, form, settings.behaviour)
    held_out = held_out_label_probabilities(train["text"][:], label_matrix(train), train["group"][:])
    suspicious, suspicious_list = doubtful_set_rows(splits, {"train": held_out, **after})
    duplicates, duplicate_list = duplicate_rows(splits, settings.checks.similarity)
    headline = {
        **block,
        "gain": paired_gain(right, (answered[baselines.best][1] == truth).all(1)),
        "gains": gains,
        **set_probability_scores(truth, after["test"], settings.bins),
        "intervals": set_intervals(ours, block["interval"])
        | set_probability_intervals(truth, after["test"], settings.bins),
        "calibration": {
            "temperatures": by_label(names, fitted.temperatures),
            "uncalibrated": decision_scores(truth, before, settings.bins),
        },
        "thresholds": by_label(names, thresholds),
        "selective": selective_accuracy(surest_sets(right, after["test"], thresholds)),
        "rows_digest": rows_digest(test["text"][:], [set_words(row, names) for row in truth]),
    }
    metrics = {
        "test": headline,
        "slices": slice_metrics(slices, settings.slices.min_rows),
        "behaviour": rates,
        "checks": {"near_duplicates": duplicates, "suspicious_labels": suspicious},
    }
    tables = {
        "mistakes": wrong_set_rows(test, answers, after["test"], settings.mistakes),
        "behaviour": failures,
        "near_duplicates": duplicate_list,
        "suspicious_labels": suspicious_list,
    }
    scaled = fitted.scaled(fitted.logits)
    return Evaluated(scaled, before, after["test"], label_lists(answers), slices, metrics, tables)


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
