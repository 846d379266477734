"""Metrics, parameters and predictions of any Git revision, read without changing the workspace.

Metrics, plots and params.yaml are read from Git; the predictions are in DVC's cache or on the remote.
"""

import io
import os
import subprocess
import sys
import tempfile
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from finetune.base.errors import UserError
from finetune.base.params import PARAMS
from finetune.base.yaml_file import parse_yaml_text
from finetune.results.metrics import METRICS, by_name, is_detail, metrics_text, parse_metrics
from finetune.results.predictions import COLUMNS, match, scaled
from finetune.results.score_files import COMPARISON, check_scores, of_shipped_model

PREDICTIONS = Path("data/predictions/test.parquet")
REMOTE_WAITS = 300  # seconds for one small file
# Whatever the locale and the user's settings are: subjects of commits in UTF-8, and names of files without octal escapes.
GIT = ("git", "-c", "i18n.logOutputEncoding=UTF-8", "-c", "core.quotePath=false")
UTF_8 = {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"}  # for commands in Python whose output is read as UTF-8
DECODED = {"encoding": "utf-8", "errors": "replace"}


def git(*arguments: str) -> subprocess.CompletedProcess:
    """A completed Git command, its output as bytes; the caller checks the status."""
    # In a locale without UTF-8, Python cannot encode the name of a branch, or it holds the bytes as surrogates.
    encoded = [argument.encode("utf-8", "surrogateescape") for argument in (*GIT, *arguments)]
    return subprocess.run(encoded, capture_output=True, check=False)


def typed(argument: str) -> str:
    """A revision of the command line as its user typed it, also in a locale that cannot decode it.

    Raises UserError for an empty one, which Git takes for HEAD in some places.
    """
    if not argument.strip():
        raise UserError("--against is empty; name a branch, a tag or a commit")
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def git_output(*arguments: str) -> str:
    """Output of a Git command; "" where it fails or Git is not installed."""
    try:
        done = git(*arguments)
    except FileNotFoundError:
        return ""
    return "" if done.returncode else done.stdout.decode("utf-8", "replace").strip()


def commit_of(rev: str) -> str:
    """Full hash of the commit that a branch, tag, hash or DVC experiment names; raises UserError if there is none."""
    if git("rev-parse", "--git-dir").returncode:
        raise UserError("this folder is in no Git repository, so there is no revision to compare with; run `git init`")
    found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
    if not found.returncode:
        return found.stdout.decode().strip()
    from dvc.scm import SCM, RevError, resolve_rev

    try:  # Git does not know the short names of DVC's experiments
        commit = resolve_rev(SCM("."), rev)
    except (RevError, ValueError):  # the latter for a name of thousands of characters, or of some that the locale lacks
        commit = None
    if not commit or git("cat-file", "-e", f"{commit}^{{commit}}").returncode:
        raise UserError(f"Git knows no revision {rev!r}; `git branch --all` lists the branches")
    return commit


def merge_base(rev: str) -> str:
    """Hash of the last commit that HEAD and a revision share; raises UserError if there is none."""
    commit = commit_of(rev)
    commit_of("HEAD")
    found = git("merge-base", "HEAD", commit)
    if found.returncode:
        raise UserError(
            f"HEAD and {rev} share no commit; in a shallow clone fetch the history first: `git fetch --unshallow`"
        )
    return found.stdout.decode().strip()


class Revision:
    """A commit by any name for it, or the workspace (`rev` None).

    `name` is the name asked for, `commit` the hash (None for the workspace). Raises UserError for an unknown revision.
    `why_no_predictions` is one line after `predictions()` returned None, else None.
    """

    def __init__(self, rev: str | None = None):
        self.name = rev or "workspace"
        self.commit = commit_of(rev) if rev else None
        self.why_no_predictions: str | None = None

    def __str__(self) -> str:
        """The name as a table shows it: a hash is cut to nine digits."""
        return self.name[:9] if self.name == self.commit else self.name

    def _bytes(self, path: str | Path) -> bytes | None:
        """Content of a file in Git or in the workspace; None if it does not exist."""
        if self.commit is None:
            return Path(path).read_bytes() if Path(path).is_file() else None
        # ./ is relative to this folder, which need not be the top of the repository.
        found = git("show", f"{self.commit}:./{Path(path).as_posix()}")
        return None if found.returncode else found.stdout

    def has(self, path: str | Path) -> bool:
        """Whether a file exists, in Git or in the workspace."""
        return self._bytes(path) is not None

    def text(self, path: str | Path) -> str:
        """Text of a file in Git, or in the workspace; raises UserError if it is missing or not text."""
        content = self._bytes(path)
        if content is None:
            raise UserError(f"there is no {path} at {self}")
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{path} at {self} is not UTF-8 text") from None

    def metrics(self) -> dict[str, dict]:
        """Metrics by name, headline and detail joined, the scores those of the shipped model.

        Raises UserError if there is no metrics/test.json, or if a file cannot be compared (`score_files.COMPARISON`).
        """
        return self._metrics

    @cached_property
    def _metrics(self) -> dict[str, dict]:
        if self.commit is None:
            paths = sorted(METRICS.rglob("*.json"))
        else:
            listed = git("ls-tree", "-r", "-z", "--name-only", self.commit, f"./{METRICS}/").stdout.decode(
                "utf-8", "replace"
            )
            paths = [Path(name) for name in listed.split("\0") if name.endswith(".json")]
        paths = [path for path in paths if path.parent == METRICS or is_detail(path)]
        text = metrics_text if self.commit is None else self.text
        found = by_name({path: parse_metrics(text(path), f"{path} at {self}", path) for path in paths})
        if "test" not in found:
            raise UserError(f"there is no metrics/test.json at {self}; run `make repro` there and commit metrics/")
        revision = str(self) if self.commit else None
        check_scores(found, COMPARISON, revision)
        return found | {"test": of_shipped_model(found["test"])}

    def temperature(self) -> float:
        """What the shipped model divides its logits by; 1 where metrics/test.json does not say."""
        return (self.metrics()["test"].get("calibration") or {}).get("temperature") or 1.0

    def lock(self) -> dict:
        """Stages of dvc.lock by their names; empty without the file."""
        if not self.has("dvc.lock"):
            return {}
        content = parse_yaml_text(self.text("dvc.lock"), f"dvc.lock at {self}")
        stages = content.get("stages") if isinstance(content, dict) else None
        return stages if isinstance(stages, dict) else {}

    def params(self) -> dict:
        """Values of params.yaml at this revision, not checked against today's schema."""
        values = parse_yaml_text(self.text(PARAMS), f"{PARAMS} at {self}")
        if not isinstance(values, dict):
            raise UserError(f"{PARAMS} at {self} must hold sections such as train:, found {values!r}")
        return values

    def stored(self, path: Path) -> pa.Table:
        """A Parquet file that a stage of this commit wrote, from DVC's cache or the remote; raises UserError without it."""
        content = self._fetched(path)
        if content is None:
            raise UserError(self.why_no_predictions)
        return pq.read_table(io.BytesIO(content))

    def predictions(self) -> pa.Table | None:
        """Columns row, label, predicted, logits of the test rows; None, with `why_no_predictions`, if unavailable.

        The logits are those of the shipped model: after temperature scaling. With several labels per text, labels and
        predictions are lists of ids.
        """
        return self._predictions

    @cached_property
    def _predictions(self) -> pa.Table | None:
        here = self.commit is None and PREDICTIONS.is_file()
        content = PREDICTIONS.read_bytes() if here else self._fetched(PREDICTIONS)
        if content is None:
            return None
        try:
            table = pq.read_table(io.BytesIO(content))
        except pa.ArrowInvalid:
            self.why_no_predictions = f"{PREDICTIONS} at {self} is not a Parquet file; run `dvc checkout`"
            return None
        whole = set(table.column_names) >= COLUMNS
        table = scaled(table, self.temperature()) if whole else table
        if not whole or not match(table, self.metrics()["test"]):
            self.why_no_predictions = f"{PREDICTIONS} at {self} does not match metrics/test.json; run `dvc checkout`"
            return None
        return table

    def _fetched(self, path: Path) -> bytes | None:
        """Content of a file from DVC's cache or the remote.

        In its own process, because a remote's library may raise any exception or wait forever.
        """
        if not self.has("dvc.lock"):
            self.why_no_predictions = f"there is no dvc.lock at {self}, which DVC needs to find {path}"
            return None
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / path.name
            command = [sys.executable, "-m", "dvc", "get", ".", str(path), "--out", str(target)]
            command += ["--rev", self.commit] if self.commit else []
            try:
                environment = os.environ | UTF_8
                done = subprocess.run(
                    command, capture_output=True, check=False, timeout=REMOTE_WAITS, env=environment, **DECODED
                )
            except subprocess.TimeoutExpired:
                self.why_no_predictions = f"the remote did not deliver {path} of {self} within {REMOTE_WAITS} s"
                return None
            if done.returncode or not target.is_file():
                errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
                # A file missing from storage is the common case; for any other, show DVC's own reason.
                known = not errors or "No storage files available" in errors[-1]
                reason = "" if known else f" ({errors[-1].removeprefix('ERROR: ')})"
                self.why_no_predictions = f"neither DVC's cache nor a remote has {path} of {self}{reason}"
                return None
            return target.read_bytes()
