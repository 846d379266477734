"""The numbers in the README, taken from the last run and from params.yaml.

    python -m docs.readme          (make readme)

reads   params.yaml, metrics/
writes  README.md, docs/scores.svg
"""

import re
from pathlib import Path

import yaml
from pydantic import BaseModel

from finetune.base.errors import run
from finetune.base.params import PARAMS, Loader, Params, parse_yaml
from finetune.results.metrics import read_metrics
from finetune.summary import summary

README = Path("README.md")
SCORES = re.compile(r"^```\n(classifier .*?\n)?```$", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| `(?P<key>[^`]+)` \| `(?P<value>[^`]+)` \| (?P<meaning>.+) \|$", re.MULTILINE)
WIDTH = 60  # characters of a default that the table has room for; a longer one ends in …


def defaults(values: dict, schema: type[BaseModel] = Params, prefix: str = "") -> dict:
    """Every parameter by its dotted name, a threshold of the gate whole: {"train": {"lr": 1}} -> {"train.lr": 1}."""
    found = {}
    for name, value in values.items():
        section = schema.model_fields[name].annotation
        if name == "gate":
            found |= {f"gate.{metric}": threshold for metric, threshold in value.items()}
        elif isinstance(section, type) and issubclass(section, BaseModel):
            found |= defaults(value, section, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def shown(value) -> str:
    """A value as the table shows it, in YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000)
    text = text.removesuffix("...\n").strip()
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def means(text: str, value) -> bool:
    """Whether a cell of the table stands for a value: `1e-4` also stands for 0.0001."""
    return text == shown(value) or ("…" not in text and yaml.load(text, Loader) == value)


def with_numbers(readme: str, params: dict, metrics: dict) -> str:
    """README with the scores of the last run and the values of params.yaml; a key that its table lacks stays out."""
    values = defaults(params)

    def row(match: re.Match) -> str:
        key, value, meaning = match["key"], match["value"], match["meaning"]
        if key in values and not means(value, values[key]):
            value = shown(values[key])
        return f"| `{key}` | `{value}` | {meaning} |"

    scores = f"```\n{summary(metrics['test'], metrics['baseline'])}\n```"
    return ROW.sub(row, SCORES.sub(lambda _: scores, readme, count=1))


def main():
    from docs import picture

    text = with_numbers(README.read_text(encoding="utf-8"), parse_yaml(PARAMS), read_metrics())
    README.write_text(text, encoding="utf-8")
    picture.main()


if __name__ == "__main__":
    raise SystemExit(run(main))
