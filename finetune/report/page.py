"""The report's page: what it shows, section by section, put into its template."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment
from markupsafe import Markup

from finetune.base.errors import UserError
from finetune.base.params import read_params
from finetune.export.model_name import model_name
from finetune.gate.thresholds import check_thresholds
from finetune.report import label_sets, origin, quality
from finetune.report.against import against_section
from finetune.results.experiments import settings_digest
from finetune.results.revisions import Revision
from finetune.results.score_files import REPORT, check_scores
from finetune.wording.classifiers import gain_sentence
from finetune.wording.numbers import interval, percent, points

HTML = Path(__file__).parents[1] / "html"


class Task(NamedTuple):
    """The sections that differ between one label per text and several; each function returns what the template shows."""

    tiles: Callable
    baselines: Callable
    classes: Callable
    mistakes: Callable
    slices_by_label: str  # title of the slices that the labels give


ONE_LABEL = Task(
    quality.tiles,
    quality.baselines,
    quality.classes,
    quality.mistakes,
    slices_by_label="true label",
)
SEVERAL_LABELS = Task(
    label_sets.tiles,
    label_sets.baselines,
    label_sets.classes,
    label_sets.mistakes,
    slices_by_label="number of labels",
)


def change(value: float) -> str:
    """A difference of a metric with its sign: 0.0431 -> "+0.043"."""
    return true_minus(f"{value:+.3f}")


def true_minus(number: str) -> str:
    """A number with a minus as wide as a plus: "-4.3" -> "−4.3"."""
    return number.replace("-", "−")


def embedded(value) -> Markup:
    """JSON for a <script> element, escaped so that no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def content(base: Revision | None = None) -> dict:
    """Contents of the page by section; with `base` also a comparison with it."""
    revision = Revision()
    metrics, params = revision.metrics(), revision.params()
    missing = [name for name in ("test", "baseline") if name not in metrics]
    if missing:
        raise UserError(f"metrics/{missing[0]}.json is missing; run `make repro` first")
    check_scores(metrics, REPORT)
    label_names = list(metrics["test"]["per_class"])
    settings = settings_digest(params)
    task = SEVERAL_LABELS if "thresholds" in metrics["test"] else ONE_LABEL
    return {
        "name": model_name(params.get("export", {}).get("name"), params["data"]["uri"]),
        "test": metrics["test"],
        "verdict": gain_sentence(metrics["test"], metrics["baseline"]),
        "thresholds": check_thresholds(metrics, read_params("gate"))[1].rows,
        "against": against_section(base, revision, label_names) if base else None,
        "tiles": task.tiles(metrics["test"]),
        "baselines": task.baselines(metrics),
        "folds": quality.folds(revision, metrics),
        "classes": task.classes(revision, metrics),
        "calibration": quality.calibration(revision, metrics),
        "slices": quality.slices(revision, metrics, task.slices_by_label),
        "behaviour": quality.behaviour(revision, metrics),
        "mistakes": task.mistakes(revision, label_names),
        "data": origin.data(revision, metrics),
        "training": origin.training(revision, metrics),
        "more_rows": origin.more_rows(revision, settings),
        "seeds": origin.seeds(metrics, settings),
        "search": origin.search(metrics, params),
        "parameters": origin.parameters(params),
        "source": origin.source(revision),
        "provenance": origin.provenance(),
    }


def rendered(values: dict) -> str:
    """The page as HTML; all text from data is escaped."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "percent": percent,
        "interval": interval,
        "points": lambda difference: true_minus(points(difference)),
        "change": change,
        "embedded": embedded,
    }
    parts = {name: (HTML / f"report.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    template = environment.from_string(parts["html"])
    return template.render(values, style=Markup(parts["css"]), script=Markup(parts["js"]))
