"""Test every row once: one run for each fold, whose rows are then its test split.

    python -m finetune.cross_validation 5       (make folds FOLDS=5)

Each fold is a DVC experiment, run outside the workspace; an existing one is not run again, so the command can
be stopped and restarted. Writes metrics/folds.json, data/predictions/folds.parquet and data/predictions/folds.csv.
"""

from pathlib import Path

from finetune.base.command import Parser, run
from finetune.base.errors import UserError
from finetune.base.files import write_json
from finetune.base.params import PARAMS, check_params, read_params
from finetune.base.terminal import say
from finetune.base.yaml_file import parse_yaml
from finetune.cross_validation.answers import Answers, fold_answers, write_answers
from finetune.cross_validation.scores import pooled_scores
from finetune.results.comparable import raw_data
from finetune.results.experiments import experiment
from finetune.results.folds import FOLDS, folds_digest, folds_sentence
from finetune.results.revisions import Revision

PREDICTIONS = Path("data/predictions")


def checked_settings(count: int) -> dict:
    """Parameters of the workspace; raises UserError if they are wrong, or allow no cross-validation in so many folds."""
    read_params("split")
    params = parse_yaml(PARAMS)
    split = params["split"] | {"folds": count, "fold": 0}
    check_params(params | {"split": split}, source=f"{PARAMS}, for {count} folds")
    return params


def same_data(folds: list[Revision]) -> str | None:
    """Checksum of the rows that all folds downloaded; raises UserError if they differ, as at an address whose content changed."""
    found = {raw_data(fold) for fold in folds}
    if len(found) > 1:
        names = ", ".join(fold.name for fold in folds)
        raise UserError(
            f"the source gave the folds different rows; forget them with `dvc exp remove` ({names}) and start again"
        )
    return found.pop()


def main():
    parser = Parser(
        prog="python -m finetune.cross_validation", description="Test every row once, in a run for each fold."
    )
    parser.add_argument("count", type=int, help="number of folds, 2 to 100: so many times the time of one run")
    count = parser.parse_args().count
    params = checked_settings(count)
    digest = folds_digest(params)
    revisions: list[Revision] = []
    folds: list[Answers] = []
    for fold in range(count):
        name = f"fold-{fold}-of-{count}-{digest}"
        revisions.append(experiment(name, {"split.folds": count, "split.fold": fold}))
        folds.append(fold_answers(revisions[-1]))
        say(f"fold {fold}: accuracy {folds[-1].metrics['test']['accuracy']:.3f} on {len(folds[-1].rows)} rows")
    belongs_to = {"settings": digest, "data": same_data(revisions)}
    scores = pooled_scores(folds, params["evaluate"]["bins"])
    tables = write_answers(folds, PREDICTIONS)
    write_json(FOLDS, belongs_to | scores)
    say(folds_sentence(scores))
    say(f"{count} folds: {FOLDS}, {' and '.join(map(str, tables))}")


if __name__ == "__main__":
    raise SystemExit(run(main))
