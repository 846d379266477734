"""What must hold before the exported model is published: the gate, and that dvc.lock names all that is here."""

from collections.abc import Iterator
from contextlib import contextmanager

from finetune.base.errors import UserError, one_line
from finetune.base.params import read_params
from finetune.gate.thresholds import HOLDS, check
from finetune.results.metrics import read_metrics
from finetune.runtime.classifier import EXPORTED

ABSENT = ("deleted", "not in cache")  # DVC's words
SHOWN = 3  # changes that are told


def check_gate():
    """Raises UserError when metrics/ does not hold against the thresholds in params.yaml."""
    status, section = check(read_metrics(), read_params("gate"))
    if status != HOLDS:
        missed = [
            f"{metric} is {found}, wanted {wanted}" for metric, found, wanted, word in section.rows if word != "holds"
        ]
        raise UserError(f"not published, the gate does not hold: {'; '.join(missed)} (`make gate` shows all)")


@contextmanager
def checked_pipeline() -> Iterator[None]:
    """Block in which the gate holds, the workspace is what dvc.lock names and no `dvc repro` runs; else raises UserError."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo

    try:
        with Repo() as repo:
            with lock_repo(repo), no_stage(repo):
                # In here: a `dvc repro` that has just ended may have written other metrics.
                check_gate()
                check_export(repo)
                check_status(repo.status())
                yield
    except LockError:
        raise UserError("not published: another `dvc` command is running here; wait until it is done") from None
    except DvcException as error:
        raise UserError(f"not published: DVC cannot read the project ({one_line(error)}); mend that first") from None


@contextmanager
def no_stage(repo) -> Iterator[None]:
    """Block in which no stage writes; raises UserError when one does.

    DVC gives its lock away while a stage's command runs, and keeps only a note of what that writes, with its process.
    Notes of processes that are gone do not count.
    """
    from dvc.lock import LockError
    from dvc.rwlock import rwlock

    hardlink = repo.config["core"].get("hardlink_lock", False)
    try:
        with rwlock(repo.tmp_dir, repo.fs, "finetune.publish", [repo.root_dir], [], hardlink):
            yield
    except LockError as error:
        raise UserError(f"not published: a stage is running, wait until it is done ({one_line(error)})") from None


def check_export(repo):
    """Raises UserError when the exported folder is not, byte for byte, the one that dvc.lock names."""
    out = next((out for out in repo.index.outs if out.def_path == str(EXPORTED)), None)
    if out is None or not out.hash_info:
        raise UserError(f"not published: no dvc.lock here says which {EXPORTED} is meant; run `dvc repro`")
    if not out.exists:
        raise UserError(
            f"not published: {EXPORTED} is missing; get it with `dvc pull {EXPORTED}` from a remote, or make it with `dvc repro`"
        )
    if out.changed_checksum():
        raise UserError(
            f"not published: {EXPORTED} is not the folder that dvc.lock names; bring that back with "
            f"`dvc checkout --force {EXPORTED}`, or make it again with `dvc repro --force export`"
        )


def check_status(status: dict[str, list]):
    """Raises UserError when DVC's status names a setting, source or metric that changed since dvc.lock was written.

    Data and models of earlier stages may be absent, as they are after `dvc pull models/export`.
    """
    changes = [f"{stage}: {change}" for stage, entries in status.items() for change in changes_of(entries)]
    if changes:
        more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
        raise UserError(
            f"not published, the pipeline is not up to date ({', '.join(changes[:SHOWN])}{more}); run `dvc repro` first"
        )


def changes_of(entries: list) -> Iterator[str]:
    """What changed for one stage, in words, from an entry of DVC's status."""
    for entry in entries:
        if isinstance(entry, str):  # "changed command"
            yield entry
            continue
        for found in entry.values():
            for name, change in found.items():
                if change in ABSENT and name.startswith(("data/", "models/")):
                    continue
                # Parameters stand one level deeper: {"params.yaml": {"train.lr": "modified"}}
                inner = change if isinstance(change, dict) else {"": change}
                yield from (f"{name} {key} {word}".replace("  ", " ") for key, word in inner.items())
