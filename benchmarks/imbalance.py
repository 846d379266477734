"""Measure class weights, the score that chooses the epoch, and decisions on 95% of one label and 5% of the other.

    python -m benchmarks.imbalance [--seeds 1 2 3] [--strategy head] [--folder /tmp/imbalance]

Trains on 1,900 positive and 100 negative reviews of the default data, chooses on 760 and 40, and scores 1,520 and 80; no film
is in two of the three. Run by hand (five minutes on two cores), not with `make bench`. What is in the folder is not trained
again.
"""

import argparse
from pathlib import Path

import numpy as np
from datasets import Dataset, concatenate_datasets

from finetune.base.command import run
from finetune.base.errors import UserError
from finetune.base.params import read_params
from finetune.base.params_results import Decide, LabelThreshold
from finetune.encoder.batches import FeatureRows, TokenRows
from finetune.encoder.hardware import chosen_precision, fast_fp32
from finetune.encoder.models import fresh_classifier
from finetune.encoder.prediction import predict
from finetune.evaluation.calibration import fit_temperature, scaled_probabilities
from finetune.evaluation.decision_rules import decision, label_scores
from finetune.rows.stored import TOKENIZED, class_ids, label_names, read_rows, token_ids
from finetune.rows.tokens import load_tokenizer
from finetune.scoring.curves import confidence_bins, expected_calibration_error
from finetune.scoring.decisions import Decision
from finetune.training.checkpoints import Checkpoints
from finetune.training.engine_loop import train_with_loop
from finetune.training.fit import Fit
from finetune.training.frozen_encoder import encoder_features
from finetune.training.interrupts import Interrupts
from finetune.training.progress import sort_key
from finetune.training.settings import resolved
from finetune.training.task import OneLabel
from stages.train import BASE

ROWS = {"train": (100, 1_900), "validation": (40, 760), "test": (80, 1_520)}  # negative, positive
FILMS = {"train": 0.4, "validation": 0.2, "test": 0.4}  # shares that leave each part enough rows of the common label
WEIGHTS = {"null": None, "balanced": "balanced"}
NO_RULE = {"min_probability": None, "min_accuracy": None, "threshold": None}
RULES = {
    "recall 0.7": {"threshold": LabelThreshold(label="negative", recall=0.7)},
    "recall 0.5": {"threshold": LabelThreshold(label="negative", recall=0.5)},
    "precision 0.5": {"threshold": LabelThreshold(label="negative", precision=0.5)},
    "accuracy 0.98": {"min_accuracy": 0.98},
}
ARGMAX = Decision(label=0, threshold=0.5)  # as the most probable label of two, with the scores of a threshold
BINS = 15
EPOCHS = 3
SEED = 7  # of the films and rows; the trainings have seeds of their own


def imbalanced() -> dict[str, Dataset]:
    """Rows of each part, drawn from films of its own."""
    rows = concatenate_datasets([read_rows(split) for split in ("train", "validation", "test")])
    random = np.random.default_rng(SEED)
    films, labels = np.array(rows["group"][:]), class_ids(rows)
    shuffled = random.permutation(np.unique(films))
    ends = np.cumsum([round(share * len(shuffled)) for share in FILMS.values()])[:-1]
    parts = {}
    for name, members in zip(FILMS, np.split(shuffled, ends), strict=True):
        inside = np.isin(films, members)
        chosen = [
            random.choice(np.flatnonzero(inside & (labels == label)), count, replace=False)
            for label, count in enumerate(ROWS[name])
        ]
        parts[name] = rows.select(np.sort(np.concatenate(chosen)))
    return parts


class RecordedFit(Fit):
    """A training that keeps the logits of validation and test after each epoch that is validated."""

    def __init__(self, model, tokenizer, *arguments, test: Dataset):
        settings, precision, _, checkpoints, *_ = arguments[2:]
        self.test_rows = TokenRows(token_ids(test), tokenizer.pad_token_id)
        if settings.strategy == "head":
            self.test_rows = FeatureRows(encoder_features(model, self.test_rows, precision, checkpoints.features))
        super().__init__(model, tokenizer, *arguments)
        self.kept = {"validation": [], "test": []}

    def validation_logits(self, positions: list[int]) -> np.ndarray:
        self.latest = super().validation_logits(positions)
        return self.latest

    def after_epoch(self):
        due = self.validation_due
        super().after_epoch()
        if due:
            self.kept["validation"].append(self.latest)
            self.kept["test"].append(predict(self.model, self.test_rows, lambda output, _: output.logits, "test"))
            self.model.train()


def trained(parts: dict[str, Dataset], strategy: str, weights, seed: int, folder: Path) -> dict[str, np.ndarray]:
    """Logits of shape [epochs, rows, classes] of validation and test from one training."""
    changes = {"strategy": strategy, "class_weights": weights, "seed": seed}
    changes |= {"epochs": EPOCHS, "min_steps": 1} if strategy == "full" else {}
    names = label_names(parts["train"])
    settings, _ = resolved(read_params("train").model_copy(update=changes), len(parts["train"]), len(names))
    tokenizer = load_tokenizer(TOKENIZED / "tokenizer")
    model = fresh_classifier(BASE, names, seed, settings.dropout)
    precision = chosen_precision(settings.precision)
    with Interrupts() as interrupts, fast_fp32():
        common = (settings, precision, None, Checkpoints(f"{strategy} {weights} {seed}", folder), interrupts)
        fit = RecordedFit(model, tokenizer, parts["train"], parts["validation"], *common, test=parts["test"])
        train_with_loop(fit)
    return {name: np.stack(values) for name, values in fit.kept.items()}


def measured(parts: dict[str, Dataset], found: dict[str, np.ndarray], best: str) -> dict[str, float]:
    """Scores on test of the epoch with the best validation score `best`, and what rules chosen on validation give there."""
    labels = {name: class_ids(parts[name]) for name in ("validation", "test")}
    scores = [OneLabel().scores(labels["validation"], values) for values in found["validation"]]
    epoch = max(range(len(scores)), key=lambda number: sort_key(scores[number], best))
    temperature = fit_temperature(labels["validation"], found["validation"][epoch])
    plain = scaled_probabilities(found["test"][epoch])
    rows = {name: (labels[name], scaled_probabilities(found[name][epoch], temperature)) for name in labels}
    row = {"epoch": epoch + 1, "temperature": temperature}
    row |= {f"most probable {name}": value for name, value in values_of(label_scores(ARGMAX, *rows["test"])).items()}
    row["ECE as trained"] = expected_calibration_error(confidence_bins(labels["test"], plain, BINS))
    row["ECE"] = expected_calibration_error(confidence_bins(*rows["test"], BINS))
    row["rare expected"], row["rare"] = rows["test"][1][:, 0].mean(), (labels["test"] == 0).mean()
    for name, rule in RULES.items():
        try:
            chosen = decision(Decide(**NO_RULE | rule), label_names(parts["test"]), rows["validation"], rows["test"])
        except UserError as error:
            print(error)
            continue
        row |= {
            f"{name}, {split} {score}": value for split in labels for score, value in values_of(chosen[split]).items()
        }
    return row


def values_of(scores: dict) -> dict[str, float]:
    """Scores without their intervals."""
    return {name: entry["value"] if isinstance(entry, dict) else entry for name, entry in scores.items()}


def spread(values: list[float]) -> str:
    """Mean and range."""
    known = [np.nan if value is None else value for value in values]
    return f"{np.mean(known):.3f} ({min(known):.3f} to {max(known):.3f})"


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imbalance", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--strategy", choices=("full", "head"), default="full")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/imbalance"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    parts = imbalanced()
    for seed in arguments.seeds:
        for name, weights in WEIGHTS.items():
            path = arguments.folder / f"{arguments.strategy}-{name}-{seed}.npz"
            if not path.is_file():
                np.savez(path, **trained(parts, arguments.strategy, weights, seed, arguments.folder / "checkpoints"))
                print(path, flush=True)
    for name in WEIGHTS:
        for best in ("accuracy", "f1", "loss"):
            found = [np.load(arguments.folder / f"{arguments.strategy}-{name}-{seed}.npz") for seed in arguments.seeds]
            rows = [measured(parts, values, best) for values in found]
            print(f"\nclass_weights: {name}, best: {best}")
            for score in rows[0]:
                print(f"  {score}: {spread([row.get(score, np.nan) for row in rows])}")


if __name__ == "__main__":
    raise SystemExit(run(main))
