"""The fine-tuned model with its interval beside every baseline, as one table.

python -m finetune.summary       (the end of make repro)
"""

import argparse

from tabulate import tabulate

from finetune.base.errors import UserError, run
from finetune.results.metrics import read_metrics
from finetune.wording.classifiers import described, gain_sentence, ranked


def summary(test: dict, baseline: dict) -> str:
    """Table of all classifiers, the best first, and a sentence about the gain."""
    rows = []
    for name, block in ranked(test, baseline).items():
        low, high = block["interval"].values()
        rows.append(
            [
                name,
                f"{block['accuracy']:.3f}",
                f"{low:.3f} to {high:.3f}",
                f"{block['f1']:.3f}",
                described(name),
            ]
        )
    table = tabulate(rows, ["classifier", "accuracy", "95% interval", "macro F1", ""], disable_numparse=True)
    return f"{table}\n\n{gain_sentence(test, baseline)}"


def main():
    argparse.ArgumentParser(
        prog="python -m finetune.summary",
        description="Print the scores of the fine-tuned model and of every baseline as one table.",
    ).parse_args()
    metrics = read_metrics()
    missing = [name for name in ("test", "baseline") if name not in metrics]
    if missing:
        raise UserError(f"metrics/{missing[0]}.json is missing; run `make repro` first")
    print("\n" + summary(metrics["test"], metrics["baseline"]))


if __name__ == "__main__":
    raise SystemExit(run(main))
