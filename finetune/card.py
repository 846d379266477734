"""The model card: what a user of the model must know, from measured files only."""

from huggingface_hub import EvalResult, ModelCardData
from tabulate import tabulate

NAMES = {
    "majority": "always the most frequent label",
    "tfidf": "TF-IDF and logistic regression",
    "embedding": "frozen encoder and logistic regression",
    "untrained": "encoder with an untrained head",
    "zero_shot": "prompting, no labels",
    "few_shot": "frozen encoder, a few labelled examples",
}


def share(value: float) -> str:
    """A fraction as the card shows it: 0.8298 -> "83.0%"."""
    return f"{100 * value:.1f}%"


def interval(block: dict) -> str:
    """Ends of a score block's interval: "80.9% to 85.0%"."""
    return f"{share(block['interval']['low'])} to {share(block['interval']['high'])}"


def scores_table(test: dict, baseline: dict) -> str:
    """Fine-tuned model and every baseline, the best first, as Markdown."""
    blocks = {"this model": test} | {NAMES[name]: baseline[name] for name in NAMES}
    ranked = sorted(blocks.items(), key=lambda pair: -pair[1]["accuracy"])
    rows = [[name, share(block["accuracy"]), interval(block), f"{block['f1']:.3f}"] for name, block in ranked]
    return tabulate(rows, ["classifier", "accuracy", "95% interval", "macro F1"], tablefmt="github")


def card_metadata(name: str, source: dict, test: dict) -> ModelCardData:
    """Metadata as the Hub reads it: task, data set, scores."""
    dataset = source["data"]["uri"]
    described = {
        "dataset_type": dataset.removeprefix("hf://datasets/").split("@")[0],
        "dataset_name": dataset,
        "dataset_split": "test",
    }
    results = [
        EvalResult(task_type="text-classification", metric_type=metric, metric_value=test[metric], **described)
        for metric in ("accuracy", "f1")
    ]
    return ModelCardData(
        library_name="transformers", pipeline_tag="text-classification", model_name=name, eval_results=results
    )


def model_card(name: str, source: dict, data: dict, baseline: dict, train: dict, test: dict, reload: dict) -> str:
    """Card in Markdown; every number comes from the metrics handed in."""
    gain = test["gain"]
    verdict = (
        "a significant gain"
        if gain["low"] > 0
        else "a significant loss"
        if gain["high"] < 0
        else "no significant difference"
    )
    labels = ", ".join(f"`{label}` ({count} rows)" for label, count in data["labels"].items())
    rows = data["rows"]
    dropped = ", ".join(f"{count} {why}" for why, count in data["dropped"].items())
    per_class = tabulate(
        [
            [label, *(f"{block[key]:.3f}" for key in ("precision", "recall", "f1")), block["rows"]]
            for label, block in test["per_class"].items()
        ],
        ["label", "precision", "recall", "F1", "test rows"],
        tablefmt="github",
    )
    return f"""---
{card_metadata(name, source, test).to_yaml()}
---

# {name}

Classifies a text as one of {labels}.

On {test["rows"]} test rows it is right for **{share(test["accuracy"])}** (95% interval {interval(test)}).
That is {100 * gain["value"]:+.1f} points over the best baseline ({NAMES[baseline["best"]]}; 95% interval
{100 * gain["low"]:+.1f} to {100 * gain["high"]:+.1f}, McNemar's exact p = {gain["p_value"]:.2g}), which is {verdict}.

## Use

```python
from transformers import pipeline

classify = pipeline("text-classification", model="path/to/this/folder", truncation=True)
classify("your text")
```

## Scores on the test rows

{scores_table(test, baseline)}

{per_class}

Calibration: expected calibration error {test["ece"]:.3f}, Brier score {test["brier"]:.3f}, log loss {test["log_loss"]:.3f}.
Area under the ROC curve: {test["roc_auc"]:.3f}.

## Data

Source: `{source["data"]["uri"]}`. Rows: {rows["train"]} to train on, {rows["validation"]} to choose the epoch with,
{rows["test"]} to test. Left out: {dropped}. A text has {data["tokens"]["mean"]:.0f} tokens on average;
{share(data["truncated"])} of the texts were cut to the maximum length (`{source["truncation"]}`).

## Training

Pretrained encoder: `{source["model"]["uri"]}`. {train["parameters"]["trained"]:,} of {train["parameters"]["total"]:,} weights
trained in {train["precision"]} for {train["steps"]} steps; epoch {train["best_epoch"]} of {train["epochs"]} was the best on
validation (accuracy {share(train["validation"]["accuracy"])}).

## Limits

The scores hold for texts like those of the source. Every text gets one of the labels, also one that fits none of them.
Reloaded in a fresh process, the model gave the evaluated label for {share(reload["agreement"])} of the test rows.
"""
