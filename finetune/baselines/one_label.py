"""All baselines for one label per text."""

from pathlib import Path

import numpy as np
from datasets import Dataset

from finetune.base.params import Baseline
from finetune.baselines.frozen import best_draw, few_shot_block
from finetune.baselines.regression import majority
from finetune.baselines.scored import Scored, most_accurate
from finetune.baselines.tfidf import tfidf
from finetune.baselines.with_encoder import encoder_baselines
from finetune.rows.stored import class_ids, label_names
from finetune.scoring.scores import score_block


def score_one_label(base: Path, train: Dataset, splits: dict[str, Dataset], tokenizer, settings: Baseline) -> Scored:
    """Every baseline that `baseline.skip` does not name, on the test rows.

    `train` holds the labels of all training rows, `splits` the rows to learn from (train, which may be a sample), to choose settings on
    (validation) and to score (test).
    """
    test = splits["test"]
    names, labels = label_names(test), class_ids(test)
    with_encoder, reasons = encoder_baselines(base, splits, tokenizer, settings)
    probabilities = {"majority": majority(class_ids(train), len(test), len(names))}
    if "tfidf" not in settings.skip:
        probabilities["tfidf"] = tfidf(*splits.values())
    probabilities |= with_encoder

    metrics = {}
    for name, rows in probabilities.items():
        if name == "few_shot":
            metrics[name] = few_shot_block(labels, rows, names)
            # The rows of the best draw stand for few_shot, so that a gain over them is a gain over every draw.
            probabilities[name] = best_draw(labels, rows)
        else:
            metrics[name] = score_block(labels, rows.argmax(1), names)
    best = most_accurate(metrics)
    columns = {name: rows.astype(np.float32) for name, rows in probabilities.items()}
    skipped = dict.fromkeys(settings.skip, "baseline.skip names it") | reasons
    return Scored(metrics, columns, labels, best, probabilities[best], skipped)
