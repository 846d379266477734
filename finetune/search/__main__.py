"""Search for better settings: Optuna tries those of `search:` in params.yaml, each trial as a DVC experiment.

    python -m finetune.search 20       (make search TRIALS=20)

The first trial is params.yaml as it is. Interrupted, it continues where it was; the number counts all trials of a search.
Writes metrics/search.json and metrics/search.svg, and keeps its study and logs in search/.
"""

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from finetune.base.command import Parser, run
from finetune.base.errors import Stopped, UserError
from finetune.base.files import replace_text
from finetune.base.params import PARAMS, check_params
from finetune.base.terminal import printable, say, say_lines
from finetune.base.yaml_file import parse_yaml
from finetune.results.experiments import experiment_names, settings_digest
from finetune.results.metrics import look_up, read_metrics
from finetune.results.revisions import Revision
from finetune.search.remote import Trial, add_options, check_options, on_cluster
from finetune.search.space import SEED, check_space, start_values, suggested
from finetune.search.trials import LOGS, Failed, Pruned, ensure_experiment

SEARCH = Path("metrics/search.json")
CURVES = Path("metrics/plots/train/plots/metrics/validation")
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


class Search:
    """One search: the parameters, the space, what identifies its trials, and Optuna's study."""

    def __init__(self):
        from finetune.search import study

        self.values = parse_yaml(PARAMS)
        params = check_params(self.values, source=str(PARAMS))
        self.metric, self.more_seeds, self.seed = params.search.metric, params.search.seeds, params.train.seed
        self.ranges = check_space(self.values)
        if "data" not in (metrics := read_metrics()):
            raise UserError("metrics/data.json is missing; run `make repro` first")
        data = metrics["data"]
        self.start = start_values(params, self.ranges, data["rows"]["train"], len(data["labels"]))
        self.checksums = study.sources()
        self.name = study.study_name(self.values, self.ranges, self.metric, self.checksums)
        self.study = study.opened(self.name, self.metric, self.start, self.seed)

    def comparison_seeds(self) -> list[int]:
        """Seeds that chose nothing, with which the proposal compares two settings; the search's own where `search.seeds` is 0."""
        more = [(self.seed + offset) % 2**32 for offset in range(1, self.more_seeds + 1)]
        return more or [self.seed]

    def compared(self) -> list[tuple[str, dict]]:
        """Experiments of the proposal, by name with their dotted parameters; none if no trial scored better than the first."""
        from finetune.search.study import experiment_name

        by_number = {trial["trial"]: trial for trial in self.trials()}
        start, best = by_number[0], by_number[self.study.best_trial.number]
        if best["value"] == start["value"]:
            return []
        chosen = [one["used"] | {SEED: seed} for one in (start, best) for seed in self.comparison_seeds()]
        return [(experiment_name(self.values, used, self.checksums), used) for used in chosen]

    def say_seeds(self):
        """Says that the trainings of the proposal begin, if any of them is missing."""
        if self.more_seeds and {name for name, _ in self.compared()} - set(experiment_names()):
            seeds = ", ".join(map(str, self.comparison_seeds()))
            say(f"training the best settings and the defaults with seeds {seeds}")

    @property
    def score(self) -> str:
        """Name of the metric among the scores of a validation."""
        return self.metric.rpartition(".")[2]

    def begin(self, trial) -> tuple[str, dict]:
        """Records what a trial will run, and returns the name of its experiment and its dotted parameters."""
        from finetune.search import study

        settings = suggested(trial, self.values, self.ranges)
        # The first trial leaves params.yaml as it is: then it is the run of the workspace, and DVC need not repeat it.
        used = settings if trial.number else {SEED: self.seed}
        name = study.experiment_name(self.values, used, self.checksums)
        for key, value in (("settings", settings), ("used", used), ("experiment", name)):
            trial.set_user_attr(key, value)
        say(f"trial {trial.number}: " + ("params.yaml as it is" if not trial.number else in_short(settings)))
        return name, used

    def failed(self, trial, problem: str, where: str = ""):
        """Records a trial that failed. Raises UserError if it is the first one, with which all are compared."""
        from finetune.search import study

        if not trial.number:
            raise UserError(f"params.yaml as it is fails: {problem}{where}") from None
        trial.set_user_attr("error", printable(problem))
        self.study.tell(trial, state=study.TrialState.FAIL)
        say(f"trial {trial.number}: failed: {problem}")

    def completed(self, trial, name: str, started: float):
        """Records the score of a trial whose experiment exists; `started` is by the monotonic clock."""
        from finetune.search import study

        revision = Revision(name)
        value = look_up(revision.metrics()["train"], self.metric)
        # Of a training that DVC took from its cache nothing was seen; later ones are compared with it too.
        study.report_new(trial, validation_curve(revision, self.score)[:-1])
        self.study.tell(trial, value)
        seconds = time.monotonic() - started
        best = self.study.best_trial
        say(
            f"trial {trial.number}: {self.metric} {value:.4f} after {seconds:.0f} s; best {best.value:.4f} (trial {best.number})"
        )

    def run_trial(self, trial):
        """Runs one trial on this machine and records how it ended."""
        from finetune.search import study

        name, used = self.begin(trial)

        def is_bad(validations: list[dict]) -> bool:
            # The last validation decides nothing: the training is over then.
            unfinished = [one["scores"][self.score] for one in validations if one["epoch"] < one["epochs"]]
            return bool(unfinished) and study.report_new(trial, unfinished) and len(unfinished) == len(validations)

        started = time.monotonic()
        try:
            ensure_experiment(name, used, is_bad)
        except Failed as error:
            self.failed(trial, str(error), f"; its output is in {LOGS / f'{name}.log'}")
        except Pruned:
            self.study.tell(trial, state=study.TrialState.PRUNED)
            say(
                f"trial {trial.number}: ended early, below the median of the others after the same number of validations"
            )
        else:
            self.completed(trial, name, started)

    def run_on_cluster(self, results: Callable, count: int):
        """Runs trials on a cluster, as many at once as it has room for, each to its end; then the seeds of the proposal."""
        from finetune.search.study import next_trial

        running = {}  # number of a trial -> the trial, and when it started

        def trials():
            while (trial := next_trial(self.study, count, self.seed, running)) is not None:
                name, used = self.begin(trial)
                running[trial.number] = trial, time.monotonic()
                yield Trial(name, json.dumps(used), trial.number)

        for piece, problem in results(trials(), count):
            trial, started = running.pop(piece.number)
            if problem is None:
                self.completed(trial, piece.name, started)
            else:
                self.failed(trial, str(problem))
        self.say_seeds()
        more = [Trial(name, json.dumps(used)) for name, used in self.compared()]
        for piece, problem in results(more, len(more)):
            if problem is not None:
                raise UserError(f"the experiment {piece.name} failed: {problem}")

    def trials(self) -> list[dict]:
        """Finished trials as plain values."""
        return [
            {
                "trial": trial.number,
                "state": STATES[trial.state.name],
                "value": trial.value if trial.state.name == "COMPLETE" else None,
                "validations": list(trial.intermediate_values.values()),
                **{key: trial.user_attrs.get(key) for key in ("settings", "used", "experiment", "error")},
            }
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state.name in STATES
        ]


def validation_curve(revision: Revision, score: str) -> list[float]:
    """A score on validation, at each validation of a training."""
    lines = revision.text(CURVES / f"{score}.tsv").splitlines()
    return [float(row[score]) for row in csv.DictReader(lines, delimiter="\t")]


def in_short(settings: dict) -> str:
    """Settings on one line, without the section that all share: "lr 0.000137, epochs 3"."""
    return printable(", ".join(f"{name.removeprefix('train.')} {value}" for name, value in settings.items()))


def table(trials: list[dict], metric: str) -> str:
    """All trials, best first; those without a score last."""
    sign = 1 if metric.endswith("loss") else -1
    ordered = sorted(trials, key=lambda trial: (trial["value"] is None, sign * (trial["value"] or 0), trial["trial"]))
    names = list(trials[0]["settings"])
    rows = [
        [
            trial["trial"],
            trial["state"] if trial["value"] is None else f"{trial['value']:.4f}",
            *(printable(trial["settings"][name], 40) for name in names),
            trial["experiment"] if trial["state"] == "complete" else "",
        ]
        for trial in ordered
    ]
    heads = [
        "trial",
        metric.removeprefix("validation."),
        *(name.removeprefix("train.") for name in names),
        "experiment",
    ]
    return tabulate(rows, heads, disable_numparse=True)


def results(search: Search) -> dict:
    """What is known of the search: its trials, the importance of each parameter, and the proposal."""
    from finetune.search.proposal import in_words, proposal
    from finetune.search.study import importances

    trials = search.trials()
    by_number = {trial["trial"]: trial for trial in trials}
    start, best = by_number[0], by_number[search.study.best_trial.number]
    seeds = search.comparison_seeds()
    proposed = None
    if best["value"] != start["value"]:
        search.say_seeds()
        proposed = proposal(search.values, best, start, search.metric, seeds, search.checksums)
    return {
        "study": search.name,
        "settings": settings_digest(search.values, without=(*search.ranges,)),
        "metric": search.metric,
        "trials": trials,
        "importances": importances(search.study),
        "proposal": proposed,
        "words": in_words(proposed, search.metric, len(trials)),
    }


def main():
    parser = Parser(prog="python -m finetune.search", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "count", type=int, help="number of trials in all, at least 2, the first with params.yaml as it is"
    )
    add_options(parser)
    options = parser.parse_args()
    check_options(options)
    count = options.count
    if count < 2:
        raise UserError(f"a search compares trials; their number must be at least 2, found {count}")
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError(
            "the search needs Optuna; run `make search`, or `pip install -r requirements-search.txt -c constraints.txt`"
        ) from None
    from finetune.search.plots import PICTURE, draw
    from finetune.search.study import next_trial, only_search

    with only_search():
        try:
            search = Search()
            if options.ray is not None:
                with on_cluster(options.ray, options.cpus, options.gpus) as run_trials:
                    search.run_on_cluster(run_trials, count)
            while (trial := next_trial(search.study, count, search.seed)) is not None:
                search.run_trial(trial)
            found = results(search)
        except KeyboardInterrupt:
            raise Stopped("stopped; the same command continues where the search was", 130) from None
        # Not `write_json`, which rounds: a learning rate may be smaller than 0.000001.
        replace_text(SEARCH, json.dumps(found, indent=2) + "\n")
        draw(found, PICTURE)
    say_lines("\n" + table(found["trials"], search.metric) + "\n")
    for line in found["words"]:
        say(line)
    say(f"search: {SEARCH} and {PICTURE}")


if __name__ == "__main__":
    raise SystemExit(run(main))
