"""Train with a list of other settings: one DVC experiment for each combination, on this machine or on a Ray cluster.

    python -m finetune.variations -S train.lr=1e-5,3e-5,1e-4                  (make variations SET=train.lr=1e-5,3e-5,1e-4)
    python -m finetune.variations -S train.lr=1e-5,3e-5 -S train.epochs=2,3 --ray HOST:PORT

The workspace stays as it is. An existing experiment is not run again, so a stopped command continues where it was.
"""

import argparse
import itertools
import json
from collections.abc import Iterator

from tabulate import tabulate

from finetune.base.command import Parser, run
from finetune.base.errors import Stopped, UserError
from finetune.base.params import PARAMS, check_params
from finetune.base.terminal import printable, say, say_lines
from finetune.base.yaml_file import parse_yaml, parse_yaml_text
from finetune.results.experiments import own_files_digest, settings_digest
from finetune.results.revisions import Revision
from finetune.search.remote import Trial, add_options, check_options, on_cluster
from finetune.search.space import changed
from finetune.search.trials import Failed, ensure_experiment

MOST = 1_000  # trainings


def parsed_choices(texts: list[str]) -> dict[str, list]:
    """Values by dotted name: ["train.lr=1e-5,3e-5"] -> {"train.lr": [1e-05, 3e-05]}. Raises UserError for another form."""
    choices = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not name or not equals or not values:
            raise UserError(f"-S {text} must be NAME=VALUE,VALUE,…, such as train.lr=1e-5,3e-5")
        if name in choices:
            raise UserError(f"-S names {name} twice; give all its values in one: {name}=VALUE,VALUE")
        # A sequence in YAML's flow style, so a value may be a list itself.
        choices[name] = parse_yaml_text(f"[{values}]", f"-S {text}")
    return choices


def variations(values: dict, choices: dict[str, list]) -> dict[str, dict]:
    """Settings of every combination by the name of its experiment.

    The name is a digest of all settings and of the user's own files. Raises UserError for a parameter that does not exist
    or a value that it does not take.
    """
    found = {}
    for combination in itertools.product(*choices.values()):
        settings = dict(zip(choices, combination, strict=True))
        varied = changed(values, settings)
        check_params(varied, source=" ".join(f"-S {name}={value}" for name, value in settings.items()))
        own = own_files_digest(varied)
        found["-".join(["variation", settings_digest(varied, without=()), *([own] if own else [])])] = settings
        if len(found) > MOST:
            raise UserError(f"-S gives more than {MOST:,} combinations; each is a training")
    return found


def run_here(trials: list[Trial]) -> Iterator[tuple[Trial, UserError | None]]:
    """Runs trials on this machine, one after another."""
    for trial in trials:
        try:
            ensure_experiment(trial.name, json.loads(trial.settings))
        except Failed as error:
            yield trial, UserError(str(error))
        else:
            yield trial, None


def in_short(settings: dict) -> str:
    """Settings on one line: "train.lr 1e-05, train.epochs 2"."""
    return printable(", ".join(f"{name} {value}" for name, value in settings.items()))


def report(results: Iterator[tuple[Trial, UserError | None]], found: dict[str, dict]):
    """Says how each trial ended as they come in, then prints all scores. Raises UserError if one failed."""
    rows, failed = {}, 0
    for trial, problem in results:
        if problem is not None:
            failed += 1
            say(f"{in_short(found[trial.name])}: failed: {problem}")
            continue
        metrics = Revision(trial.name).metrics()
        validation, test = metrics["train"]["validation"], metrics["test"]
        rows[trial.name] = [f"{score['accuracy']:.4f}" for score in (validation, test)]
        say(f"{in_short(found[trial.name])}: accuracy {rows[trial.name][0]} on validation ({trial.name})")
    names = list(next(iter(found.values())))
    table = [[*(printable(found[name][key], 40) for key in names), *rows[name], name] for name in found if name in rows]
    if table:
        say_lines("\n" + tabulate(table, [*names, "validation", "test", "experiment"], disable_numparse=True) + "\n")
    if failed:
        raise UserError(
            f"{failed} of {len(found)} variations failed, for the reasons above; the others are DVC experiments. "
            "The same command runs only what is missing"
        )
    say(f"{len(found)} variations; `dvc exp show` lists them, and `dvc exp apply NAME` takes one over")


def main():
    summary, _, more = __doc__.partition("\n\n")
    parser = Parser(
        prog="python -m finetune.variations",
        description=summary,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-S",
        dest="settings",
        metavar="NAME=VALUE,…",
        action="append",
        required=True,
        help="a parameter with the values to try; several give all combinations",
    )
    add_options(parser)
    options = parser.parse_args()
    check_options(options)
    found = variations(parse_yaml(PARAMS), parsed_choices(options.settings))
    trials = [Trial(name, json.dumps(settings)) for name, settings in found.items()]
    try:
        if options.ray is None:
            report(run_here(trials), found)
            return
        with on_cluster(options.ray, options.cpus, options.gpus) as results:
            report(results(trials, len(trials)), found)
    except KeyboardInterrupt:
        raise Stopped("stopped; the same command runs what is missing", 130) from None


if __name__ == "__main__":
    raise SystemExit(run(main))
