"""What the data alone tells, without the model: near-duplicates across splits and doubtful labels of train.

    python -m finetune.data_checks 0.8 checks.json

looks for texts that share this part of their character runs; `evaluate` runs it beside its own imports.
"""

import json
import sys
from pathlib import Path

import numpy as np

from finetune.base.errors import run
from finetune.evaluation.near_duplicates import held_out_probabilities
from finetune.evaluation.review_lists import doubtful_rows, duplicate_rows
from finetune.rows.stored import label_names, read_rows


def main(similarity: str, output: str):
    splits = {name: read_rows(name) for name in ("train", "validation", "test")}
    train = splits["train"]
    # The model was fitted on these rows: it believes their labels, the wrong ones too.
    held_out = held_out_probabilities(
        train["text"][:], np.asarray(train["label"][:]), train["group"][:], len(label_names(train))
    )
    doubtful, doubtful_list = doubtful_rows({"train": train}, {"train": held_out})
    duplicates, duplicate_list = duplicate_rows(splits, float(similarity))
    found = {
        "suspicious_labels": doubtful,
        "suspicious_list": doubtful_list,
        "near_duplicates": duplicates,
        "near_list": duplicate_list,
    }
    Path(output).write_text(json.dumps(found, default=lambda number: number.item()), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(run(lambda: main(*sys.argv[1:])))
