"""Optuna's study of a search: which settings to try next, which trials are bad, and what is known so far.

It is kept in search/study.db. Settings that are not searched, the space, the metric and the checksums of rows and model
identify a study, so trials of other data or another space never mix with it.
"""

import contextlib
import json
import warnings
from collections.abc import Collection

import optuna
from filelock import FileLock, Timeout
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, Trial, TrialState

from finetune.base.errors import UserError
from finetune.results.experiments import run_dvc, settings_digest, short_digest
from finetune.results.revisions import Revision
from finetune.search.space import changed
from finetune.search.trials import FOLDER

STUDY = FOLDER / "study.db"
RANDOM_TRIALS = 10  # before TPE has enough to go by; Optuna's default
COMPLETE_TRIALS = 4  # before a trial is compared with the median of the others
COMPARED_TRIALS = 3  # that have as many validations as the one to be judged
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def sources() -> dict[str, str]:
    """Checksums of the downloaded rows and the model, from dvc.lock.

    Raises UserError if they are not those of the present settings and files, because then trials would mix two data sets.
    """
    outs = Revision().lock().get("download", {}).get("outs", [])
    status = run_dvc("status", "--json", "download", capture=True)
    if status.returncode:
        raise UserError(f"DVC cannot say whether the data changed: {' '.join(status.stderr.split())}")
    changes = [change for change in json.loads(status.stdout).get("download", []) if isinstance(change, dict)]
    if not outs or any("changed deps" in change for change in changes):
        raise UserError(
            "the stage download has not run with these settings and files; run `make repro`, then search again"
        )
    return {out["path"]: out["md5"] for out in outs}


def experiment_name(values: dict, settings: dict, checksums: dict[str, str]) -> str:
    """Name of the experiment with these parameters and sources, whatever study it belongs to: "search-1f6a0c3d"."""
    digest = settings_digest(changed(values, settings), without=())
    return f"search-{short_digest([digest, checksums])}"


def study_name(values: dict, ranges: dict, metric: str, checksums: dict[str, str]) -> str:
    """Name of the study: a digest of all that its trials have in common."""
    return short_digest([settings_digest(values, without=tuple(ranges)), ranges, metric, checksums])


@contextlib.contextmanager
def only_search():
    """Block in which no other search runs in this folder; raises UserError if one does."""
    FOLDER.mkdir(exist_ok=True)
    lock = FileLock(FOLDER / "lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another search is running in this folder (it holds {lock.lock_file}); wait for it or stop it"
        ) from None
    with held:
        yield


def opened(name: str, metric: str, start: dict, seed: int) -> optuna.Study:
    """The study of this name, with its trials so far; a new one begins with the trial of the `start` values."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    FOLDER.mkdir(exist_ok=True)
    study = optuna.create_study(
        study_name=name,
        storage=f"sqlite:///{STUDY.as_posix()}",
        direction="minimize" if metric.endswith("loss") else "maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=COMPLETE_TRIALS, n_min_trials=COMPARED_TRIALS),
        load_if_exists=True,
    )
    if not study.trials:
        study.enqueue_trial(start)
    study.sampler = sampler(seed, 0)
    return study


def sampler(seed: int, trial: int) -> optuna.samplers.BaseSampler:
    """TPE over all parameters jointly (Bergstra et al. 2011; Falkner et al. 2018), with random numbers of its own for each trial.

    A resumed search thus tries what an uninterrupted one would have tried.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=(seed + trial) % 2**32, n_startup_trials=RANDOM_TRIALS, multivariate=True
        )


def next_trial(study: optuna.Study, count: int, seed: int, running: Collection[int] = ()) -> Trial | None:
    """The trial to run now: one that was interrupted, else a new one; None if so many are finished or `running` now.

    Trials that run at the same time are numbered in `running`.
    """
    trials = study.get_trials(deepcopy=False)
    interrupted = [trial for trial in trials if trial.state == TrialState.RUNNING and trial.number not in running]
    finished = sum(trial.state in FINISHED for trial in trials) + len(running)
    if finished >= count:
        return None
    study.sampler = sampler(seed, finished)
    return Trial(study, interrupted[0]._trial_id) if interrupted else study.ask()


def report_new(trial: Trial, values: list[float]) -> bool:
    """Reports validations that the study has not seen, and whether Optuna calls the trial bad.

    They are numbered from 1: trials differ in the steps of an epoch, and an epoch may be validated only each n-th time.
    """
    seen = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    for step, value in enumerate(values, start=1):
        if step not in seen:
            trial.report(value, step)
    return trial.should_prune()


def importances(study: optuna.Study) -> dict[str, float]:
    """Share of the variance between complete trials that each parameter explains, largest first; empty if no score differs.

    fANOVA, Hutter et al. 2014.
    """
    if len({trial.value for trial in complete(study)}) < 2:
        return {}
    try:
        return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    except RuntimeError:  # the scores differ too little for its trees
        return {}


def complete(study: optuna.Study) -> list[FrozenTrial]:
    """Trials with a score."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
