"""The fine-tuned model among the baselines: their ranking, their table, and the gain over the best baseline in words."""

from finetune.wording.markdown import table
from finetune.wording.names import BASELINES, OURS
from finetune.wording.numbers import interval, percent, points


def ranked(test: dict, baseline: dict) -> dict[str, dict]:
    """Score blocks of all classifiers by their names, the best first; a baseline that was skipped has none."""
    blocks = {OURS: test} | {name: baseline[name] for name in BASELINES if name in baseline}
    return {name: blocks[name] for name in sorted(blocks, key=lambda name: -blocks[name]["accuracy"])}


def described(name: str) -> str:
    """Name of a classifier in words: "tfidf" -> "TF-IDF and logistic regression"."""
    return BASELINES.get(name, "this model")


def scores_table(test: dict, baseline: dict) -> str:
    """Fine-tuned model and every baseline, the best first, as Markdown."""
    rows = [
        [described(name), percent(block["accuracy"]), interval(block["interval"]), f"{block['f1']:.3f}"]
        for name, block in ranked(test, baseline).items()
    ]
    return table(["classifier", "accuracy", "95% interval", "macro F1"], rows)


def baseline_notes(baseline: dict, quoted=str) -> str | None:
    """Baselines that were not run, each with its reason as `quoted` writes it, and a sample that they learnt from; None without.

    >>> baseline_notes({"skipped": {"zero_shot": "baseline.skip names it"}})
    'Baselines skipped: zero_shot (baseline.skip names it).'
    """
    skipped = [f"{name} ({quoted(reason)})" for name, reason in baseline.get("skipped", {}).items()]
    notes = [f"Baselines skipped: {', '.join(skipped)}."] if skipped else []
    if "train_rows" in baseline:
        notes.append(f"The baselines learnt from {baseline['train_rows']:,} of the training rows, drawn with a seed.")
    return " ".join(notes) or None


def by_sign(gain: dict, better: str, worse: str, neither: str) -> str:
    """The wording for a gain whose whole interval lies above 0, below 0, or contains 0."""
    return better if gain["low"] > 0 else worse if gain["high"] < 0 else neither


def gain_sentence(test: dict, baseline: dict) -> str:
    """Whether fine-tuning helps, with the interval and the p-value."""
    gain = test["gain"]
    verdict = by_sign(gain, "Fine-tuning helps", "Fine-tuning hurts", "Fine-tuning makes no significant difference")
    return (
        f"{verdict}: {points(gain['value'])} points over {baseline['best']} on {test['rows']} test rows "
        f"(95% interval {points(gain['low'])} to {points(gain['high'])}, McNemar p = {gain['p_value']:.2g})."
    )
