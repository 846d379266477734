"""The model card: what a user of the model must know, from measured files only."""

import json
import re
from typing import NamedTuple

from huggingface_hub import EvalResult, ModelCardData

from finetune.export.card_use import three_ways
from finetune.wording.classifiers import by_sign, scores_table
from finetune.wording.markdown import code, table
from finetune.wording.names import BASELINES, EDITS, HEADLINE, SLICES
from finetune.wording.numbers import interval, percent, points

FILES = {
    "model": ("model.safetensors", "fp32, for transformers"),
    "onnx": ("onnx/model.onnx", "fp32"),
    "int8": ("onnx/model_int8.onnx", "products with weights in int8"),
}


class Facts(NamedTuple):
    """All that a card is made of.

    `metrics` has the content of each metrics file by its name; `parameters` are dotted names with their values,
    `versions` libraries with theirs. `speed` is the content of benchmarks/speed.json, `grouped` tells whether rows have a group.
    """

    name: str
    license: str | None
    source: dict
    metrics: dict[str, dict]
    parameters: dict[str, object]
    versions: dict[str, str]
    speed: dict
    grouped: bool


def card_metadata(facts: Facts) -> ModelCardData:
    """Metadata as the Hub reads it: task, licence, data set, encoder, scores.

    Raises ValueError when huggingface_hub does not take them.
    """
    data, model, test = facts.source["data"], facts.source["model"], facts.metrics["test"]
    dataset, encoder = hub_name(data["uri"]), hub_name(model["uri"])
    described = {
        "task_name": "Text classification",
        "dataset_type": dataset or data["uri"].split("@")[0],
        "dataset_name": data["uri"],
        "dataset_split": "test",
        "dataset_revision": data.get("commit"),
    }
    results = [
        EvalResult(
            task_type="text-classification",
            metric_type=metric,
            metric_name=f"{name}, 95% interval {ends['low']:.4f} to {ends['high']:.4f}",
            metric_value=test[metric],
            **described,
        )
        for metric, name in HEADLINE.items()
        for ends in [test["intervals"][metric]]
    ]
    return ModelCardData(
        license=facts.license,
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model=encoder,
        datasets=[dataset] if dataset else None,
        metrics=["accuracy", "f1"],
        tags=["onnx"],
        model_name=facts.name,
        eval_results=results,
    )


def hub_name(uri: str) -> str | None:
    """OWNER/NAME of a model or data set on the Hub; None for one from elsewhere."""
    match = re.match(r"hf://(?:datasets/)?([^@#]+)", uri)
    return match[1] if match else None


def model_card(facts: Facts) -> str:
    """Card in Markdown; every number comes from the facts handed in."""
    metrics = facts.metrics
    sections = {
        "Use": three_ways(FILES["int8" if "int8" in metrics["export"]["megabytes"] else "onnx"][0], truncation(facts)),
        "Data and licence": data_text(facts),
        "Splits": splits_text(facts),
        "Scores on the test rows": scores_text(metrics["test"], metrics["baseline"]),
        "Where it is better and worse": slices_text(metrics["slices"], metrics["test"]),
        "What changes its answers": behaviour_text(metrics["behaviour"]),
        "Calibration": calibration_text(metrics["test"]),
        "Limits": limits_text(facts),
        "Size and speed": size_text(facts),
        "Parameters and versions": parameters_text(facts),
    }
    parts = [f"---\n{card_metadata(facts).to_yaml()}\n---", f"# {facts.name}", summary_text(metrics)]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n\n".join(parts) + "\n"


def truncation(facts: Facts) -> str:
    """`head` or `head_tail`: what is kept of a text that is too long."""
    return facts.source["truncation"]


def summary_text(metrics: dict) -> str:
    """What it does, and how well beside the best baseline."""
    test, baseline = metrics["test"], metrics["baseline"]
    gain = test["gain"]
    verdict = by_sign(gain, "a significant gain", "a significant loss", "no significant difference")
    return f"""Classifies a text as one of {", ".join(map(code, metrics["data"]["labels"]))}.

On {test["rows"]:,} test rows it is right for **{percent(test["accuracy"])}** (95% interval {interval(test["interval"])}).
That is {points(gain["value"])} points over the best baseline ({BASELINES[baseline["best"]]}; 95% interval
{points(gain["low"])} to {points(gain["high"])}, McNemar's exact p = {gain["p_value"]:.2g}), which is {verdict}."""


def data_text(facts: Facts) -> str:
    """Where rows and encoder come from, what was left out, and under which licence the model is."""
    data, source = facts.metrics["data"], facts.source
    pins = {kind: source[kind].get("commit") or source[kind].get("sha256") for kind in ("data", "model")}
    rows = [
        [
            kind,
            code(source[key]["uri"]),
            code(f"{'commit' if 'commit' in source[key] else 'SHA-256'} {pins[key]}") if pins[key] else "",
        ]
        for kind, key in (("texts and labels", "data"), ("pretrained encoder", "model"))
    ]
    dropped = ", ".join(f"{count:,} {why}" for why, count in data["dropped"].items() if count) or "none"
    licence = (
        f"The model is under the licence {code(facts.license)}."
        if facts.license
        else "No licence is stated for the model."
    )
    return f"""{table(["", "source", "pinned by"], rows)}

Rows that were left out: {dropped}. A text has {data["tokens"]["mean"]:.0f} tokens on average, 95% have at most
{data["tokens"]["p95"]:.0f}.

{licence} What the owners of the texts and of the encoder allow is theirs to say: ask at the sources above."""


def splits_text(facts: Facts) -> str:
    """Rows of each split, and what keeps them apart."""
    data, checks = facts.metrics["data"], facts.metrics["checks"]
    rows = data["rows"]
    uses = {
        "train": "to train on",
        "validation": "to choose the epoch with, and to fit the temperature",
        "test": "to score, once",
    }
    labels = table(["label", "rows"], [[code(name), f"{count:,}"] for name, count in data["labels"].items()])
    apart = "No text stands in two splits" + (
        ", and rows of one group stay in one of them" if facts.grouped else "; the rows have no groups"
    )
    near = checks["near_duplicates"]
    pairs = ", ".join(f"{count:,} between {' and '.join(name.split('_'))}" for name, count in near.items())
    doubtful = checks["suspicious_labels"]
    return f"""{table(["split", "rows", "used"], [[name, f"{rows[name]:,}", use] for name, use in uses.items()])}

{labels}

{apart}. Near-duplicates were searched for and found: {pairs}. Labels that look wrong:
{", ".join(f"{count:,} of {rows[split]:,} in {split}" for split, count in doubtful.items())}; they were left as they are."""


def scores_text(test: dict, baseline: dict) -> str:
    """Every score of the model, beside every baseline and by label."""
    ends = test["intervals"]
    overall = [
        [name, f"{test[metric]:.3f}", f"{ends[metric]['low']:.3f} to {ends[metric]['high']:.3f}"]
        for metric, name in {**HEADLINE, "roc_auc": "area under the ROC curve"}.items()
    ]
    per_class = [
        [code(label), *(f"{block[key]:.3f}" for key in ("precision", "recall", "f1")), f"{block['rows']:,}"]
        for label, block in test["per_class"].items()
    ]
    return "\n\n".join(
        (
            scores_table(test, baseline),
            table(["this model", "score", "95% interval"], overall),
            table(["label", "precision", "recall", "F1", "test rows"], per_class),
        )
    )


def slices_text(slices: dict, test: dict) -> str:
    """Accuracy on parts of the test rows, and the worst part; "" where nothing was measured."""
    rows = [
        [title, name, percent(entry["accuracy"]), interval(entry["interval"]), f"{entry['rows']:,}"]
        for kind, title in SLICES.items()
        if len(slices.get(kind, {})) > 1  # one alone is the whole
        for name, entry in slices[kind].items()
    ]
    parts = [table(["test rows by", "", "accuracy", "95% interval", "rows"], rows)] if rows else []
    worst = slices.get("worst")
    if worst:
        verdict = (
            "which ends below that over all rows: it is worse for a reason"
            if worst["interval"]["high"] < test["accuracy"]
            else "so this may be chance"
        )
        parts.append(
            f"The worst of {worst['compared']} slices is {code(worst['slice'])}: right for {percent(worst['accuracy'])} of "
            f"{worst['rows']:,} rows. The interval, wide enough for having picked the worst, is {interval(worst['interval'])}, {verdict}."
        )
    return "\n\n".join(parts)


def behaviour_text(behaviour: dict) -> str:
    """Share of edited texts that got another answer than they should; "" where nothing was measured."""
    rows = [
        [EDITS.get(name, name), percent(entry["failure_rate"]), interval(entry["interval"]), f"{entry['rows']:,}"]
        for name, entry in behaviour.items()
    ]
    if not rows:
        return ""
    shown = table(["edit of a test row", "wrong afterwards", "95% interval", "rows"], rows)
    return f"An edit that keeps what a text says must keep its answer.\n\n{shown}"


def calibration_text(test: dict) -> str:
    """What its probabilities are worth, and what it gains to leave the least sure ones to a person."""
    scaled = test["calibration"]
    names = {"ece": "expected calibration error", "log_loss": "log loss", "brier": "Brier score"}
    rows = [[name, f"{test[metric]:.3f}", f"{scaled[metric]:.3f}"] for metric, name in names.items()]
    text = f"""Logits are divided by a temperature of {scaled["temperature"]:.3f}, fitted on validation; the ONNX files do it themselves.

{table(["on the test rows, lower is better", "as trained", "calibrated"], rows)}"""
    kept = [
        [
            f"{name.removeprefix('keep_')}%",
            percent(entry["accuracy"]),
            interval(entry["interval"]),
            f"{entry['rows']:,}",
        ]
        for name, entry in test.get("selective", {}).items()
    ]
    if kept:
        shown = table(["share answered, the surest", "accuracy", "95% interval", "rows"], kept)
        text += f"\n\nWhere it may leave texts to a person, it is right more often:\n\n{shown}"
    return text


def limits_text(facts: Facts) -> str:
    """For what the numbers say nothing."""
    data, test, behaviour = (facts.metrics[name] for name in ("data", "test", "behaviour"))
    points = [
        "The scores hold for texts like those of the source. Other kinds of text, other languages and other times were not measured.",
        "Every text gets one of the labels, also one that fits none of them.",
        f"{percent(1 - test['accuracy'])} of its answers on test rows are wrong; it is no ground for decisions about people.",
        f"A text longer than {facts.parameters['tokenize.max_length']} tokens is cut (its {'start stays' if truncation(facts) == 'head' else 'start and end stay'}); "
        f"{percent(data['truncated'])} of the texts were.",
    ]
    unsteady = [
        f"{EDITS.get(name, name)} ({percent(entry['failure_rate'])})"
        for name, entry in sorted(behaviour.items(), key=lambda pair: -pair[1]["failure_rate"])
        if entry["interval"]["low"] > 0.05  # more than one text in twenty, and not by chance
    ]
    if unsteady:
        points.append(f"Edits that give more than one wrong answer in twenty: {'; '.join(unsteady)}.")
    return "\n".join(f"- {point}" for point in points)


def size_text(facts: Facts) -> str:
    """Bytes of each file of the model, its agreement with the evaluated one, and its speed where that was measured."""
    export, train = facts.metrics["export"], facts.metrics["train"]
    agreement = {"model": export["reload"], "onnx": export["onnx"], "int8": export["int8"]}
    rows = [
        [code(FILES[name][0]), FILES[name][1], f"{size:.1f} MB", percent(agreement[name]["agreement"])]
        for name, size in export["megabytes"].items()
        if name in FILES
    ]
    speed = facts.speed
    of_this = {kind: facts.source[kind]["uri"] for kind in ("data", "model")}
    of_this |= {"rows": facts.metrics["data"]["rows"]["test"], "max_length": facts.parameters["tokenize.max_length"]}
    measured = all(speed[key] == value for key, value in of_this.items())
    header = ["file", "", "size", "test labels as evaluated"]
    if measured:
        header += ["speed, one text", "speed, many"]
        for row, name in zip(rows, (name for name in export["megabytes"] if name in FILES), strict=True):
            row += [str(speed["relative"][when].get(name, "-")) for when in ("one", "many")]
    told = (
        f"Speed: texts a second, `transformers.pipeline` on `{FILES['model'][0]}` being 1, for one text of {speed['tokens']['one']} "
        f"tokens and for {speed['rows']:,} test texts of {speed['tokens']['many']:.0f} on average, with {speed['threads']} threads."
        if measured
        else "Speed was not measured for this encoder on these texts."
    )
    int8 = export["int8"]
    return f"""{table(header, rows)}

int8 was {"kept" if int8["kept"] else "left out"}: {int8["why"]}. {told}
The model has {train["parameters"]["total"]:,} weights."""


def parameters_text(facts: Facts) -> str:
    """How it was trained, with which settings and libraries."""
    train = facts.metrics["train"]
    values = [[code(key), code(json.dumps(value, ensure_ascii=False))] for key, value in facts.parameters.items()]
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return f"""{train["parameters"]["trained"]:,} of {train["parameters"]["total"]:,} weights were trained, in {train["precision"]}, for
{train["steps"]:,} steps; epoch {train["best_epoch"]} of {train["epochs"]} was the best on validation (accuracy {percent(train["validation"]["accuracy"])}).

{table(["parameter", "value"], values)}

Versions: {versions}."""
