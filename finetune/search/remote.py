"""Trials on a Ray cluster: each runs in a worker's own clone of the commit, and comes back as a DVC experiment.

The clone is made from the Git remote, data and models come from the DVC remote, and results go back to both. So the
caller's workspace does not change, and a worker that dies loses only its trial, which runs again elsewhere.
"""

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from finetune.base.command import Parser
from finetune.base.errors import UserError
from finetune.results.experiments import run_dvc, untracked_data
from finetune.results.revisions import DECODED, git, git_output
from finetune.search.trials import SECONDS, Failed, end_stages, ensure_experiment

REMOTE = "origin"
GIT_SECONDS = 300  # for a clone, or until a Git remote that does not answer is given up
PULL = ("--pull", "--allow-missing")  # only the outputs that a stage to be run reads


def add_options(parser: Parser):
    """Adds the options of a command that runs trials on a cluster."""
    parser.add_argument(
        "--ray", metavar="HOST:PORT", help="run on this Ray cluster, or on `auto`, the one of this machine"
    )
    parser.add_argument("--cpus", type=int, metavar="N", help="cores for each trial there (default: as many as here)")
    parser.add_argument("--gpus", type=int, metavar="N", default=0, help="GPUs for each trial there (default: 0)")


def check_options(options: Namespace):
    """Raises UserError for options of `add_options` that make no sense."""
    if options.ray is None and (options.cpus is not None or options.gpus):
        raise UserError("--cpus and --gpus need --ray; without it a trial has this whole machine")
    if options.cpus is not None and options.cpus < 1:
        raise UserError(f"--cpus must be at least 1, found {options.cpus}")
    if options.gpus < 0:
        raise UserError(f"--gpus must be at least 0, found {options.gpus}")


class Trial(NamedTuple):
    """An experiment to run: its name, its dotted parameters as JSON, and its number in a search."""

    name: str
    settings: str
    number: int | None = None

    def __str__(self) -> str:
        return self.name


class Source(NamedTuple):
    """From where a worker gets the project: the Git remote, the commit, the name and address of its author, threads."""

    url: str
    commit: str
    author: tuple[str, str]
    cpus: int
    gpus: int


def checked_source(cpus: int | None, gpus: int) -> Source:
    """What workers need to know of this clone. Raises UserError if they could not get the same project from the remotes."""
    url, commit = git_output("remote", "get-url", REMOTE), git_output("rev-parse", "--verify", "HEAD")
    if not commit:
        raise UserError(
            "experiments start from a commit, and there is none here; run `git init`, then commit all files"
        )
    if changes := git_output("status", "--porcelain", "--untracked-files=no"):
        raise UserError(
            f"{changes.split()[-1]} has changes that are in no commit, and workers clone the commit; keep them with "
            "`git commit -a` and `git push`, or put them aside with `git stash`"
        )
    if not url:
        raise UserError(
            f"there is no Git remote {REMOTE}, from which workers clone; add one: `git remote add {REMOTE} URL`, then `git push`"
        )
    if not git_output("branch", "--remotes", "--contains", commit, "--list", f"{REMOTE}/*"):
        raise UserError(
            f"the commit {commit[:9]} is in no branch of {REMOTE}, from which workers clone; run `git push`"
        )
    if run_dvc("config", "--project", "core.remote", capture=True).returncode:
        raise UserError(
            "no commit names a default DVC remote, where workers find the data; run `dvc remote add --default storage "
            "s3://bucket/path`, commit .dvc/config and run `make push`"
        )
    author = git_output("config", "user.name") or "finetune", git_output("config", "user.email") or "finetune@localhost"
    if Path(url).exists():  # relative to this folder
        url = os.path.abspath(url)
    return Source(url, commit, author, cpus or len(os.sched_getaffinity(0)), gpus)


def own_files() -> dict[str, bytes]:
    """The files in data/local that Git ignores, by path: no remote has them."""
    paths = [Path(name) for name in untracked_data()]
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return {file.as_posix(): file.read_bytes() for file in files if file.is_file()}


def reference(commit: str, name: str) -> str:
    """Git's reference of a DVC experiment that starts from a commit."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def is_here(source: Source, name: str) -> bool:
    """Whether this clone has an experiment."""
    return not git("rev-parse", "--verify", "--quiet", reference(source.commit, name)).returncode


def fetched(source: Source, names: Iterable[str]) -> set[str]:
    """Fetches the experiments of these names that the Git remote has, and returns their names."""
    listed = subprocess.run(
        ["git", "ls-remote", REMOTE, reference(source.commit, "*")],
        capture_output=True, check=False, timeout=GIT_SECONDS, **DECODED,
    )  # fmt: skip
    if listed.returncode:
        reason = " ".join(listed.stderr.split())
        raise UserError(f"the Git remote {REMOTE} at {source.url} does not answer ({reason[:300]}); check its address")
    there = {line.rpartition("/")[2] for line in listed.stdout.splitlines()} & set(names)
    wanted = [f"+{(name := reference(source.commit, one))}:{name}" for one in sorted(there)]
    if wanted and (done := git("fetch", "--quiet", REMOTE, *wanted)).returncode:
        raise UserError(
            f"cannot fetch experiments from {REMOTE}: {' '.join(done.stderr.decode('utf-8', 'replace').split())}"
        )
    return there


class Worker:
    """An actor with a clone of its own. `work` may run in one thread while another calls `stop`."""

    def __init__(self, source: Source, files: dict[str, bytes]):
        # Nothing that can fail: Ray reports an error here as the death of the actor, in many lines.
        self.source, self.files = source, files
        self.stopping = self.busy = False

    def ready(self):
        """Clones the commit into a temporary folder. Raises UserError if this machine cannot."""
        folder = Path(tempfile.mkdtemp(prefix="finetune-trials-"))
        self.folder, clone = folder, folder / "project"
        name, email = self.source.author
        os.environ.update(
            PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            PYTHONPATH=str(clone),  # Ray's points to the caller's code, which may be that of another commit
            DVC_SITE_CACHE_DIR=str(folder / "dvc-site"),
            OMP_NUM_THREADS=str(self.source.cpus),
            GIT_TERMINAL_PROMPT="0",
        )
        if not self.source.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self.git("clone", "--quiet", "--no-checkout", self.source.url, str(clone))
        os.chdir(clone)
        self.git("checkout", "--quiet", "--detach", self.source.commit)
        self.git("config", "user.name", name)
        self.git("config", "user.email", email)
        for path, content in self.files.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(content)
        self.fetch_rows()

    def fetch_rows(self):
        """Fetches the tokenised rows, unless they were never pushed: then the trial makes them.

        `--pull` would fetch the files that `train` names, then take the folder for complete, and `evaluate` would miss the
        others. Raises UserError if the DVC remote cannot be used.
        """
        done = run_dvc("fetch", "tokenize", capture=True)
        if done.returncode and "do not exist neither locally nor on remote" not in done.stdout + done.stderr:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or [done.stderr]
            reason = " ".join(lines[0].split()).removeprefix("ERROR: ")[:300]
            raise UserError(
                f"{platform.node()} cannot use the DVC remote ({reason}); every worker needs access to it, and credentials"
            )

    def git(self, *arguments: str):
        """A Git command that must succeed here."""
        try:
            done = subprocess.run(
                ["git", *arguments],
                capture_output=True,
                check=False,
                timeout=GIT_SECONDS,
                stdin=subprocess.DEVNULL,
                **DECODED,
            )
            problem = done.stderr if done.returncode else None
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = str(error)
        if problem is not None:
            reason = " ".join(problem.split())[:300]
            raise UserError(
                f"{platform.node()}: git {arguments[0]} failed ({reason}); every worker needs access to {self.source.url}"
            )

    def work(self, trial: Trial):
        """Runs a trial and pushes it. Raises UserError with the line that says why one failed."""
        self.busy = True
        try:
            if self.stopping:
                return
            ensure_experiment(trial.name, json.loads(trial.settings), more=PULL)
            # Data first: an experiment in the Git remote has its outputs in the DVC remote.
            pushed = subprocess.run(
                [sys.executable, "-m", "finetune.share", "push"], capture_output=True, check=False, **DECODED
            )
            if pushed.returncode:
                line = (pushed.stderr.splitlines() or ["without a word"])[-1].removeprefix("error: ")
                raise UserError(f"{platform.node()} cannot push results: {line}")
            name = reference(self.source.commit, trial.name)
            self.git("push", "--quiet", "--force", REMOTE, f"{name}:{name}")
        except Failed as error:
            raise UserError(str(error)) from None
        finally:
            self.busy = False

    def stop(self):
        """Ends the trial that runs, and removes the clone."""
        self.stopping = True
        while self.busy:
            end_stages(os.getpid())
            time.sleep(SECONDS)
        os.chdir("/")
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def on_cluster(address: str, cpus: int | None, gpus: int) -> Iterator[Callable]:
    """Function that runs trials on a Ray cluster and yields each with None, or with the UserError that it ended with.

    It takes an iterable of trials, read as workers become free, and their greatest number. Experiments of their names
    that the remote has are fetched and not run again.
    """
    from finetune.cluster.connection import connection
    from finetune.cluster.workers import Workers, places

    source = checked_source(cpus, gpus)
    fetched(source, ())  # before anything starts: the remote answers
    with connection(address, {"RAYON_NUM_THREADS": str(source.cpus)}) as ray:

        def results(trials: Iterable[Trial], most: int) -> Iterator[tuple[Trial, UserError | None]]:
            if isinstance(trials, list):
                there = {trial.name for trial in trials if is_here(source, trial.name)}
                there |= fetched(source, {trial.name for trial in trials} - there)
                yield from ((trial, None) for trial in trials if trial.name in there)
                trials = [trial for trial in trials if trial.name not in there]
                if not trials:
                    return
            room = places(ray, source.cpus, source.gpus, "--cpus and --gpus")
            actor = ray.remote(Worker).options(num_cpus=source.cpus, num_gpus=source.gpus, max_concurrency=2)
            start = partial(actor.remote, source, ray.put(own_files()))
            workers = Workers(ray, start, min(most, room))
            try:
                for trial, result in workers.results(trials):
                    if result is None:
                        fetched(source, [trial.name])
                    yield trial, result
            finally:
                workers.end()

        yield results
