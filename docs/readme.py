"""Updates the docs: scores and defaults from the record of the default run, and the list of modules.

    python -m docs.readme                    (make readme)
    python -m docs.readme --new-defaults     also when params.yaml differs from the record

reads   params.yaml, metrics/, the first line of every module
writes  docs/default_run/, README.md (scores), docs/parameters.md (defaults), docs/scores.svg, docs/code.md

The docs describe the default run, so the record is updated only from a run with the recorded parameters.
"""

import ast
import re
import shutil
from pathlib import Path

import yaml
from pydantic import BaseModel

from finetune.base.command import Parser, run
from finetune.base.errors import UserError
from finetune.base.params import PARAMS, Params
from finetune.base.yaml_file import parse_yaml, parse_yaml_text
from finetune.results.metrics import METRICS, read_metrics
from finetune.results.score_files import TABLE, check_scores
from finetune.summary import summary

README = Path("README.md")
PARAMETERS = Path("docs/parameters.md")
CODE = Path("docs/code.md")
RECORD = Path("docs/default_run")
SCORES = re.compile(r"^```\n(classifier .*?\n)?```$", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| `(?P<key>[^`]+)` \| `(?P<value>[^`]+)` \| (?P<meaning>.+) \|$", re.MULTILINE)
# From the ground up: a package imports only from those before it. Last come the commands.
FLOORS = (
    *("base", "sources", "rows", "splitting", "encoder", "teacher", "scoring", "baselines", "training", "evaluation"),
    *("wording", "runtime", "export", "results", "cluster"),
    *("preflight", "summary", "recipe", "seeds", "cross_validation", "learning_curve", "plots_page"),
    *("share", "gate", "search", "variations", "report", "predict", "serve", "publish"),
)
DECISIONS = {  # for docs/code.md; a test checks that each name exists
    "the order of the labels": ["sources/labels.py: name_of_each_value"],
    "the id of a label": ["splitting/keys.py: label_ids"],
    "the id of a set of labels": ["splitting/label_sets.py: LabelSets"],
    "the split of a row": ["splitting/splits.py: assign_splits"],
    "the strategy, and the settings that are null": ["training/settings.py: resolved"],
    "what a strategy trains, and its loss": ["training/strategies.py: Strategy"],
    "the learning rate of each weight, and its schedule": [
        "training/layers.py: parameter_groups",
        "training/fit.py: Fit",
    ],
    "the epoch that is kept": ["training/progress.py: Progress"],
    "the temperature that calibrates probabilities": [
        "evaluation/calibration.py: fit_temperature",
        "export/onnx_files.py: Calibrated",
        "runtime/classifier.py: Classifier",
    ],
    "the temperatures of several labels": [
        "evaluation/set_probabilities.py: label_temperatures",
        "export/task.py: SeveralLabels",
        "encoder/models.py: divide_logits",
    ],
    "the answer that probabilities become": [
        "evaluation/decision_rules.py: decision",
        "scoring/decisions.py: Decision",
    ],
    "whether a difference is more than noise": ["gate/noise.py: metric_differences"],
    "whether a search proposes other settings": ["search/proposal.py: proposal"],
    "what a trial of a search does": ["search/trials.py: ensure_experiment"],
    "what a trial on a cluster does": ["search/remote.py: Worker", "search/trials.py: ensure_experiment"],
    "the answer to `POST /predict`": ["serve/routes.py: model_routes"],
}
WIDTH = 60  # characters of a default in the table; a longer one is cut and ends in …


def defaults(values: dict, schema: type[BaseModel] = Params, prefix: str = "") -> dict:
    """Every parameter by its dotted name; a threshold of the gate and a range of the search stay one value: {"train": {"lr": 1}} -> {"train.lr": 1}."""
    values_by_key = {}
    for name, value in values.items():
        section = schema.model_fields[name].annotation
        if name in ("gate", "search"):
            values_by_key |= {f"{name}.{key}": setting for key, setting in value.items()}
        elif isinstance(section, type) and issubclass(section, BaseModel):
            values_by_key |= defaults(value, section, f"{prefix}{name}.")
        else:
            values_by_key[prefix + name] = value
    return values_by_key


def shown(value) -> str:
    """A value as YAML on one line, as the table shows it."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000)
    text = text.removesuffix("...\n").strip()
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def means(text: str, value) -> bool:
    """Whether a cell of the table denotes a value: `1e-4` also denotes 0.0001."""
    return text == shown(value) or ("…" not in text and parse_yaml_text(text, "docs/parameters.md") == value)


def with_scores(readme: str, metrics: dict) -> str:
    """README with the scores of the recorded run."""
    return SCORES.sub(lambda _: f"```\n{summary(metrics['test'], metrics['baseline'])}\n```", readme, count=1)


def with_defaults(page: str, params: dict) -> str:
    """The page about parameters with the recorded values; it gets no row for a key that it lacks."""
    values = defaults(params)

    def row(match: re.Match) -> str:
        key, value, meaning = match["key"], match["value"], match["meaning"]
        if key in values and not means(value, values[key]):
            value = shown(values[key])
        return f"| `{key}` | `{value}` | {meaning} |"

    return ROW.sub(row, page)


def renew_record(params: dict, new_defaults: bool):
    """Copies parameters and metrics of the last run into the record; raises UserError if the parameters differ from it."""
    recorded = RECORD / PARAMS
    if recorded.is_file() and parse_yaml(recorded) != params and not new_defaults:
        raise UserError(
            f"{PARAMS} differs from the default run in {recorded}, which the docs describe; nothing was changed: "
            "`python -m docs.readme --new-defaults` makes these parameters the defaults"
        )
    if RECORD.exists():
        shutil.rmtree(RECORD)
    shutil.copytree(METRICS, RECORD / METRICS)
    shutil.copy(PARAMS, RECORD)


def first_line(path: Path) -> str:
    """First line of a module's docstring."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).partition("\n")[0]


def modules_page(root: Path = Path("finetune")) -> str:
    """docs/code.md: one line for every module, in reading order."""
    lines = ["# The code, in reading order", ""]
    lines += [
        "Each stage in `stages/` reads its inputs, calls `finetune`, and writes its outputs. A change in a folder of"
    ]
    lines += [
        "`finetune/` reruns the stages that list it in `dvc.yaml`, and later ones if their inputs change. Folders and files import only from those before them.",
        "Most of what differs between one label per text and several (`multi_label`) is in files called `task.py`, which choose between",
        "`one_label.py` and `label_sets.py`; a set of labels is what one text has.",
        "",
    ]
    lines += ["## Where is it decided?", "", "| decision | place |", "| --- | --- |"]
    for decision, places in DECISIONS.items():
        lines += [f"| {decision} | {', then '.join(f'`{place}`' for place in places)} |"]
    lines += [""]
    for name in FLOORS:
        folder = root / name
        if not folder.is_dir():
            lines += [f"## `{root.name}/{name}.py`", "", first_line(root / f"{name}.py"), ""]
            continue
        lines += [
            f"## `{root.name}/{name}/`",
            "",
            first_line(folder / "__init__.py"),
            "",
            "| module | purpose |",
            "| --- | --- |",
        ]
        modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
        lines += [f"| `{path.name}` | {first_line(path).replace('|', chr(92) + '|')} |" for path in modules]
        lines += [""]
    return "\n".join(lines)


def main():
    from docs import picture

    parser = Parser(prog="python -m docs.readme", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--new-defaults", action="store_true", help="make the parameters in params.yaml the recorded defaults"
    )
    arguments = parser.parse_args()
    check_scores(read_metrics(), TABLE)  # before the record is replaced
    renew_record(parse_yaml(PARAMS), arguments.new_defaults)
    text = with_scores(README.read_text(encoding="utf-8"), read_metrics(RECORD / METRICS))
    README.write_text(text, encoding="utf-8")
    text = with_defaults(PARAMETERS.read_text(encoding="utf-8"), parse_yaml(RECORD / PARAMS))
    PARAMETERS.write_text(text, encoding="utf-8")
    CODE.write_text(modules_page(), encoding="utf-8")
    picture.main()


if __name__ == "__main__":
    raise SystemExit(run(main))
