"""DVC experiments, run once outside the workspace and then read, for the commands that train several times."""

import copy
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from finetune.base.errors import UserError
from finetune.base.params import PARAMS
from finetune.base.yaml_file import parse_yaml
from finetune.results.dvc_locks import remove_broken_lock_list
from finetune.results.revisions import DECODED, UTF_8, Revision, git

NAME_BYTES = ("utf-8", "surrogateescape")  # a file's name may hold any bytes


def short_digest(value) -> str:
    """Eight hexadecimal digits that identify plain values: {"lr": 1} -> "1efe3658"."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def settings_digest(params: dict, *, without: tuple[str, ...] = ("train.seed",)) -> str:
    """Eight hexadecimal digits that identify all settings a score depends on, except those in `without`: {…} -> "1f6a0c3d".

    `gate`, `search` and `export` change no score. The digest shows whether a file belongs to other settings.
    """
    kept = copy.deepcopy(
        {name: section for name, section in params.items() if name not in ("gate", "search", "export")}
    )
    for key in without:
        *path, name = key.split(".")
        section = kept
        for part in path:
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.pop(name, None)
    return short_digest(kept)


def run_dvc(*arguments: str, capture: bool = False) -> subprocess.CompletedProcess:
    """A DVC command; its output goes to the terminal unless captured, then as UTF-8 whatever the locale is.

    It waits while another DVC, such as one that starts an experiment, locks the project; DVC itself gives up after 3 seconds.
    """
    remove_broken_lock_list()
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    if not capture:
        return subprocess.run(command, check=False)
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | UTF_8, **DECODED)


def not_stored() -> list[str]:
    """Outputs that exist here and not in DVC's cache; none in a folder that is no DVC project.

    `dvc repro` goes on, and ends with status 0, when the files of a folder do not fit into its cache.
    Raises UserError if DVC cannot tell, as on a full or read-only disk.
    """
    if not Path(".dvc").is_dir():
        return []
    status = run_dvc("status", "--json", capture=True)
    if status.returncode:
        last = [line for line in status.stderr.splitlines() if line.startswith("ERROR")] or ["it ended without a word"]
        raise UserError(
            f"DVC cannot tell whether it has stored all outputs ({last[-1].removeprefix('ERROR: ')}); fix that and run "
            "`make repro` again"
        )
    stages = json.loads(status.stdout)
    changes = [change for stage in stages.values() for change in stage if isinstance(change, dict)]
    outputs = [change.get("changed outs", {}) for change in changes]
    return sorted(
        path for found in outputs for path, state in found.items() if state == "not in cache" and os.path.exists(path)
    )


def untracked_data() -> list[str]:
    """What lies in data/local and not in Git, which DVC's copy of the workspace would lack: files, and folders as one.

    DVC cannot copy a file into a folder that its copy lacks, nor a folder over one that it has.
    """
    command = ["git", "-c", "core.quotePath=false", "ls-files", "-z", "--others", "--directory", "data/local"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout
    return [os.fsdecode(path).rstrip("/") for path in listed.split(b"\0")[:-1]]


def own_files_digest(params: dict) -> str:
    """Eight hexadecimal digits that identify the content of the local files that params.yaml names; "" if it names none.

    The settings do not show that somebody has corrected labels in a file, or added rows.
    """
    digest, found = hashlib.sha256(), False
    for section in ("data", "model"):
        uri = str((params.get(section) or {}).get("uri") or "").removeprefix("file://")
        path = next((Path(name) for name in (uri, uri.partition("#")[0]) if name and Path(name).exists()), None)
        files = sorted(path.rglob("*")) if path and path.is_dir() else [path] if path else []
        for file in filter(Path.is_file, files):
            found = True
            with file.open("rb") as content:
                digest.update(f"{file}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\0".encode(*NAME_BYTES))
    return digest.hexdigest()[:8] if found else ""


def experiment_names() -> list[str]:
    """Names of the experiments that start from HEAD; raises UserError if there is no commit to start from."""
    if git("rev-parse", "--verify", "--quiet", "HEAD").returncode:
        raise UserError(
            "experiments start from a commit, and there is none here; run `git init`, then commit all files"
        )
    listed = run_dvc("exp", "list", "--name-only", capture=True)
    if listed.returncode:
        raise UserError(f"DVC cannot list the experiments: {' '.join(listed.stderr.split())}")
    return listed.stdout.split()


def experiment_arguments(name: str, settings: dict) -> list[str]:
    """Arguments for DVC that run an experiment up to its scores, in a temporary folder, so the workspace does not change.

    `settings` are dotted parameters.
    """
    arguments = ["exp", "run", "--temp", "--name", name]
    for path in untracked_data():
        arguments += ["--copy-paths", path]
    for key, value in settings.items():
        arguments += ["--set-param", f"{key}={json.dumps(value)}"]
    return [*arguments, "evaluate"]  # export adds no score


def experiment(name: str, settings: dict) -> Revision:
    """The experiment of this name, as a revision; it is run with these settings unless it exists.

    The name gets the digest of the user's own files, so that an experiment on other data is not taken for one on these.
    Raises UserError if it fails, or if there is no commit to start from.
    """
    own = own_files_digest(parse_yaml(PARAMS))
    name = f"{name}-{own}" if own else name
    if name not in experiment_names() and run_dvc(*experiment_arguments(name, settings)).returncode:
        raise UserError(f"the experiment {name} failed; see its output above")
    return Revision(name)
