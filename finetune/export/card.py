"""The model card: what a user of the model must know, from measured files only; card.md is its text."""

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from finetune.base.fields import SEPARATOR
from finetune.export.pins import pinned_versions
from finetune.scoring.decisions import rule_sentence
from finetune.wording.classifiers import baseline_notes, by_sign, scores_table
from finetune.wording.decisions import promise_rows
from finetune.wording.markdown import code, table
from finetune.wording.names import BASELINES, CALIBRATION, EDITS, HEADLINE, SET_SCORES, SLICES
from finetune.wording.numbers import dotted, interval, percent, points

TEMPLATE, SETS_TEMPLATE = "card.md", "card_sets.md"  # the second for several labels per text

SHOWN = ("torch", "transformers", "tokenizers", "datasets", "scikit-learn", "onnx", "onnxruntime")
FILES = {
    "model": ("model.safetensors", "fp32, for transformers"),
    "onnx": ("onnx/model.onnx", "fp32"),
    "int8": ("onnx/model_int8.onnx", "products with weights in int8"),
}
PROOFS = {"model": "reload", "onnx": "onnx", "int8": "int8"}  # entries of metrics/export.json


class Facts(NamedTuple):
    """Everything that a card is made of.

    `metrics` has the content of each metrics file by its name; `parameters` are dotted names with their values,
    `versions` libraries with theirs. `speed` is the content of benchmarks/speed.json, `grouped` says whether rows have a group.
    """

    name: str
    license: str | None
    source: dict
    metrics: dict[str, dict]
    parameters: dict[str, object]
    versions: dict[str, str]
    speed: dict
    grouped: bool


def card_facts(*, source: dict, training: dict, **facts) -> Facts:
    """The facts, with the parameters that earlier stages recorded: `export` reads no section of params.yaml but its own.

    `training` is the content of models/finetuned/training.json, `facts` are the other fields.
    """
    versions = pinned_versions()
    return Facts(
        source=source,
        parameters=dotted(source["settings"] | {"train": training}),
        versions={name: versions[name] for name in SHOWN},
        **facts,
    )


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
    decision = metrics["test"].get("decision")
    columns = facts.source["data"].get("columns")
    several = "thresholds" in metrics["test"]
    stride = facts.parameters.get("tokenize.stride") if facts.source["truncation"] == "windows" else None
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,  # Markdown; `code` makes names and texts from the data harmless
    )
    environment.filters |= {
        "aligned": aligned,
        "by_sign": by_sign,
        "code": code,
        "digits": lambda value: "-" if value is None else f"{value:.3f}",
        "interval": interval,
        "json": lambda value: json.dumps(value, ensure_ascii=False),
        "percent": percent,
        "pin": pin,
        "points": points,
        "shell": lambda value: shlex.quote(json.dumps(value, ensure_ascii=False)),
        "thousands": "{:,}".format,
    }
    return environment.get_template(SETS_TEMPLATE if several else TEMPLATE).render(
        facts._asdict() | metrics,
        metadata=card_metadata(facts).to_yaml(),
        columns=columns,
        columns_example=dict.fromkeys(columns or [], "your text"),
        pair=facts.source.get("pair"),
        separator=SEPARATOR,
        stride=stride,
        columns_read=columns_read(facts),
        pipeline_input=pipeline_input(facts),
        pipeline_differs=pipeline_differs(facts),
        files=FILES,
        baselines=BASELINES,
        edits=EDITS,
        calibration_scores=CALIBRATION,
        scores=SET_SCORES if several else HEADLINE | {"roc_auc": "area under the ROC curve"},
        accuracy="subset accuracy" if several else "accuracy",
        scores_table=scores_table,
        skipped=baseline_notes(metrics["baseline"], code),
        slice_rows=slice_rows(metrics["slices"]),
        chosen_by={"f1": "macro F1", "loss": "loss"},
        rule=rule_sentence(decision, code) if decision else "",
        promised=promise_rows(decision) if decision else [],
        unstable=unstable_edits(metrics["behaviour"]),
        agreement={name: metrics["export"][proof]["agreement"] for name, proof in PROOFS.items()},
        measured=speed_is_of_this_model(facts),
    )


def columns_read(facts: Facts) -> str:
    """How the model reads several columns, in a sentence."""
    how = "the two as a pair" if facts.source.get("pair") else f"them as one text, joined by {code(SEPARATOR)}"
    return f"It reads {how}; any of them may be empty, not all."


def pipeline_input(facts: Facts) -> str:
    """A text as `transformers.pipeline` takes it, in Python."""
    columns = [json.dumps(name, ensure_ascii=False) for name in facts.source["data"].get("columns") or []]
    if not columns:
        return '"your text"'
    if facts.source.get("pair"):
        return f'{{"text": {columns[0]}, "text_pair": {columns[1]}}}'
    return f"{json.dumps(SEPARATOR)}.join([{', '.join(columns)}])"


def pipeline_differs(facts: Facts) -> str:
    """What `transformers.pipeline` reads otherwise than the other two ways, in lines that end with a line break."""
    lines, truncation = [], facts.source["truncation"]
    if truncation == "windows":
        lines.append(
            f"This pipeline keeps only the first {facts.parameters['tokenize.max_length']} tokens of a long text; the model was "
            "trained on all of it, in overlapping windows, and the other two ways read it so."
        )
    elif truncation != "head":
        lines.append(
            "This pipeline keeps only the start of a long text; the model was trained on start and end, and the other two ways keep "
            "both."
        )
    if facts.source.get("pair"):
        lines.append(
            "It takes a pair whose second text is empty for a single text; the other two ways read it as a pair, as in training."
        )
    return "".join(f"{line}\n" for line in lines)


def aligned(lines: str) -> str:
    """A Markdown table with its columns aligned, of lines like "| a | b |", the header first.

    A pipe inside a cell has a backslash before it, as `code` writes it.
    """
    header, *rows = (
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]] for line in lines.strip().split("\n")
    )
    return table(header, rows) + "\n"


def pin(source: dict) -> str:
    """The commit or checksum that a source is pinned by, as code; "" for one without."""
    for key, title in (("commit", "commit"), ("sha256", "SHA-256")):
        if source.get(key):
            return code(f"{title} {source[key]}")
    return ""


def slice_rows(slices: dict) -> list[tuple[str, str, dict]]:
    """Title of the kind, name and scores of each slice; a slice alone in its kind is the whole and left out."""
    return [
        (title, name, entry)
        for kind, title in SLICES.items()
        if len(slices.get(kind, {})) > 1
        for name, entry in slices[kind].items()
    ]


def unstable_edits(behaviour: dict) -> list[str]:
    """Edits that change more than one answer in twenty, and not by chance, with their failure rates; the worst first."""
    return [
        f"{EDITS.get(name, name)} ({percent(entry['failure_rate'])})"
        for name, entry in sorted(behaviour.items(), key=lambda pair: -pair[1]["failure_rate"])
        if entry["interval"]["low"] > 0.05
    ]


def speed_is_of_this_model(facts: Facts) -> bool:
    """Whether benchmarks/speed.json was measured with this encoder on these test rows, cut to this length."""
    of_this = {kind: facts.source[kind]["uri"] for kind in ("data", "model")}
    of_this |= {"rows": facts.metrics["data"]["rows"]["test"], "max_length": facts.parameters["tokenize.max_length"]}
    return all(facts.speed[key] == value for key, value in of_this.items())
