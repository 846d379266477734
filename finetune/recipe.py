"""Put a recipe's settings into params.yaml: other data, another model, a tutorial's numbers.

    python -m finetune.recipe imdb-distilbert                  (make recipe NAME=imdb-distilbert)
    python -m finetune.recipe imdb-distilbert --experiment     the same, then `dvc exp run --name imdb-distilbert`

A recipe replaces whole keys of a section (`data.labels` is one value), `gate` as a whole; comments in
params.yaml stay. Nothing is written unless the result is valid.
"""

import io
import subprocess
from pathlib import Path

from ruamel.yaml import YAML

from finetune.base.command import Parser, run
from finetune.base.errors import UserError
from finetune.base.files import replace_text
from finetune.base.params import PARAMS, check_params
from finetune.base.terminal import say
from finetune.base.yaml_file import parse_yaml

RECIPES = Path("recipes")


def apply(recipe: dict, params: dict):
    """Puts a recipe's values into `params`, in place."""
    for section, values in recipe.items():
        if section == "gate" or not isinstance(params.get(section), dict) or not isinstance(values, dict):
            params[section] = values
        else:
            params[section].update(values)


def with_recipe(name: str) -> str:
    """Text of params.yaml with a recipe applied; raises UserError for an unknown recipe or an invalid result."""
    recipes = {file.stem: file for file in sorted(RECIPES.glob("*.yaml"))}
    if name not in recipes:  # not even if it is the path of a file elsewhere
        raise UserError(f"there is no recipe {name!r}; there are {', '.join(recipes)}")
    path = recipes[name]
    plain = parse_yaml(PARAMS)
    apply(parse_yaml(path), plain)
    check_params(plain, source=f"{PARAMS} with {path}")
    # Round trip: comments, order and the notation of numbers are kept.
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 200
    # The library writes nothing for null, which reads like a forgotten value.
    yaml.representer.add_representer(type(None), lambda out, _: out.represent_scalar("tag:yaml.org,2002:null", "null"))
    params = yaml.load(PARAMS.read_text(encoding="utf-8"))
    apply(yaml.load(path.read_text(encoding="utf-8")), params)
    text = io.StringIO()
    yaml.dump(params, text)
    return text.getvalue()


def main() -> int:
    parser = Parser(prog="python -m finetune.recipe", description="Put a recipe's settings into params.yaml.")
    parser.add_argument("name", help="name of a file in recipes/, without .yaml")
    parser.add_argument("--experiment", action="store_true", help="run it as a DVC experiment of that name")
    arguments = parser.parse_args()
    text = with_recipe(arguments.name)
    replace_text(PARAMS, text)
    say(f"params.yaml now holds the settings of {arguments.name}")
    if arguments.experiment:
        return subprocess.run(
            ["dvc", "--wait-for-lock", "exp", "run", "--name", arguments.name], check=False
        ).returncode
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
