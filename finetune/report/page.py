"""One page about the model, to be read, sent and archived: report.html needs no network and no server.

python -m finetune.report                   (make report)
python -m finetune.report --against main    (make report AGAINST=main)

reads   metrics/, params.yaml, and where they are there data/predictions/, data/tokenized/
writes  report.html
"""

import argparse
import json
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from finetune.base.errors import UserError
from finetune.base.params import read_params
from finetune.gate.thresholds import check_thresholds
from finetune.report import row_browser, sections
from finetune.report.against import against
from finetune.results.experiments import settings_digest
from finetune.results.revisions import Revision, git
from finetune.wording.classifiers import gain_sentence
from finetune.wording.numbers import interval, percent, points

REPORT = Path("report.html")
PAGE = Path(__file__).parents[1] / "html"


def change(value: float) -> str:
    """A difference of a metric with its sign: 0.0431 -> "+0.043"."""
    return true_minus(f"{value:+.3f}")


def true_minus(number: str) -> str:
    """A number with a minus as wide as a plus: "-4.3" -> "−4.3"."""
    return number.replace("-", "−")


def embedded(value) -> Markup:
    """JSON that a <script> can hold: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def git_output(*arguments: str) -> str:
    """Output of a Git command; "" where it fails or Git is not installed."""
    try:
        done = git(*arguments)
    except FileNotFoundError:
        return ""
    return "" if done.returncode else done.stdout.decode("utf-8", "replace").strip()


def provenance() -> dict:
    """The commit that the workspace is at, and which files differ from it."""
    changed = [path[3:] for path in git_output("status", "--porcelain", "--untracked-files=no").splitlines()]
    commit, _, date = git_output("log", "-1", "--format=%H %cs").partition(" ")
    return {"commit": commit, "date": date, "subject": git_output("log", "-1", "--format=%s"), "changed": changed}


def mistakes(revision: Revision, names: list[str]) -> dict:
    """Rows for the error row_browser."""
    predictions = revision.predictions()
    if predictions is None:
        return {
            "missing": f"Mistakes cannot be shown: {revision.why_no_predictions}. `dvc pull` or `make repro` brings them."
        }
    if not row_browser.TEXTS.is_file():
        return {
            "missing": f"Mistakes cannot be shown without {row_browser.TEXTS}; `dvc pull` or `make repro` brings it."
        }
    return {"browser": row_browser.mistakes(predictions, row_browser.texts_by_row(), names)}


def content(base: Revision | None = None) -> dict:
    """All that the page shows, by section; with `base` also what differs from it."""
    revision = Revision()
    metrics, params = revision.metrics(), revision.params()
    missing = [name for name in ("test", "baseline") if name not in metrics]
    if missing:
        raise UserError(f"metrics/{missing[0]}.json is missing; run `make repro` first")
    names = list(metrics["test"]["per_class"])
    settings = settings_digest(params)
    return {
        "name": params.get("export", {}).get("name", "model"),
        "test": metrics["test"],
        "verdict": gain_sentence(metrics["test"], metrics["baseline"]),
        "thresholds": check_thresholds(metrics, read_params("gate"))[1].rows,
        "against": against(base, revision, names) if base else None,
        "baselines": sections.baselines(metrics),
        "classes": sections.classes(revision, metrics),
        "calibration": sections.calibration(revision, metrics),
        "slices": sections.slices(revision, metrics),
        "behaviour": sections.behaviour(revision, metrics),
        "mistakes": mistakes(revision, names),
        "data": sections.data(revision, metrics),
        "training": sections.training(revision, metrics),
        "more_rows": sections.more_rows(revision, settings),
        "seeds": sections.seeds(metrics, settings),
        "parameters": sections.parameters(params),
        "source": sections.source(revision),
        "provenance": provenance(),
    }


def rendered(values: dict) -> str:
    """The page; everything that comes from data is escaped."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "percent": percent,
        "interval": interval,
        "points": lambda difference: true_minus(points(difference)),
        "change": change,
        "embedded": embedded,
    }
    parts = {name: (PAGE / f"report.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    template = environment.from_string(parts["html"])
    return template.render(values, style=Markup(parts["css"]), script=Markup(parts["js"]))


def main():
    parser = argparse.ArgumentParser(prog="python -m finetune.report", description=__doc__.partition("\n")[0])
    parser.add_argument("--against", metavar="REVISION", help="a branch, tag or commit to put beside this one")
    chosen = parser.parse_args()
    page = rendered(content(Revision(chosen.against) if chosen.against else None))
    REPORT.write_text(page, encoding="utf-8")
    print(f"{REPORT}: {len(page.encode()) / 1000:.0f} kB; open it in any browser")
