"""The fine-tuned model with its interval beside every baseline, as one table.

python -m finetune.summary       (the end of make repro)
"""

import argparse

from tabulate import tabulate

from finetune.base.errors import UserError, run
from finetune.export.card import NAMES
from finetune.results.metrics import read_metrics


def ranked(test: dict, baseline: dict) -> dict[str, dict]:
    """Score blocks of all classifiers by their names, the best first."""
    blocks = {"fine-tuned": test} | {name: baseline[name] for name in NAMES}
    return {name: blocks[name] for name in sorted(blocks, key=lambda name: -blocks[name]["accuracy"])}


def gain_sentence(test: dict, baseline: dict) -> str:
    """Whether fine-tuning helps, and how surely."""
    gain = test["gain"]
    found = (
        "Fine-tuning helps"
        if gain["low"] > 0
        else "Fine-tuning hurts"
        if gain["high"] < 0
        else "Fine-tuning makes no significant difference"
    )
    return (
        f"{found}: {100 * gain['value']:+.1f} points over {baseline['best']} on {test['rows']} test rows "
        f"(95% interval {100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}, McNemar p = {gain['p_value']:.2g})."
    )


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
                NAMES.get(name, "this model"),
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
