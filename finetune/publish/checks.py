"""Checks before publishing: the gate holds, and the workspace is exactly what dvc.lock names."""

from collections.abc import Iterator
from contextlib import contextmanager

from finetune.base.errors import UserError, one_line
from finetune.base.files import md5
from finetune.base.params import read_params
from finetune.export.model_name import check_name
from finetune.gate.thresholds import HOLDS, check_thresholds
from finetune.results.metrics import read_metrics
from finetune.runtime.classifier import EXPORTED

ABSENT = ("deleted", "not in cache")  # words of DVC's status
SHOWN = 3  # changes listed in the message


def check_gate():
    """Raises UserError if metrics/ misses a threshold in params.yaml."""
    status, section = check_thresholds(read_metrics(), read_params("gate"))
    if status != HOLDS:
        missed = [
            f"{metric} is {value}, wanted {wanted}" for metric, value, wanted, word in section.rows if word != "holds"
        ]
        raise UserError(
            f"not published, the gate does not hold: {'; '.join([*missed, *section.notes])} (`make gate` shows all)"
        )


@contextmanager
def checked_pipeline() -> Iterator[None]:
    """Holds DVC's lock for the block. Raises UserError unless all checks pass and no `dvc repro` is running."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo

    try:
        with Repo() as repo:
            with lock_repo(repo), no_stage(repo):
                # Only under the lock: a `dvc repro` that has just ended may have written new metrics.
                check_gate()
                data, export = read_params("data", "export")
                check_name(export.name, data.uri)
                check_export(repo)
                check_status(repo.status())
                yield
    except LockError:
        raise UserError("not published: another `dvc` command is running here; wait until it has finished") from None
    except DvcException as error:
        raise UserError(f"not published: DVC cannot read the project ({one_line(error)}); fix that first") from None


@contextmanager
def no_stage(repo) -> Iterator[None]:
    """Prevents stages from writing during the block; raises UserError if one is running.

    DVC releases its lock while a stage's command runs and only records, with the process id, what the stage writes. Records
    of dead processes do not count.
    """
    from dvc.lock import LockError
    from dvc.rwlock import rwlock

    hardlink = repo.config["core"].get("hardlink_lock", False)
    try:
        with rwlock(repo.tmp_dir, repo.fs, "finetune.publish", [repo.root_dir], [], hardlink):
            yield
    except LockError as error:
        raise UserError(f"not published: a stage is running; wait until it has finished ({one_line(error)})") from None


def check_export(repo):
    """Raises UserError unless the exported folder is, byte for byte, the one that dvc.lock names."""
    out = next((out for out in repo.index.outs if out.def_path == str(EXPORTED)), None)
    if out is None or not out.hash_info:
        raise UserError(f"not published: there is no dvc.lock that names {EXPORTED}; run `dvc repro`")
    if not out.exists:
        raise UserError(
            f"not published: {EXPORTED} is missing; get it from a remote with `dvc pull {EXPORTED}`, or create it with `dvc repro`"
        )
    if out.changed_checksum():
        raise UserError(
            f"not published: {EXPORTED} is not the folder that dvc.lock names; restore that with "
            f"`dvc checkout --force {EXPORTED}`, or export again with `dvc repro --force export`"
        )
    # DVC takes what it fetched as what its name says, and remembers that.
    for key, _, expected in out.get_obj() or ():  # None without the list of the folder in the cache
        if md5(EXPORTED.joinpath(*key)) != expected.value:
            raise UserError(
                f"not published: {EXPORTED.joinpath(*key)} is damaged; remove it and DVC's copy of it (`rm .dvc/cache/files/md5/"
                f"{expected.value[:2]}/{expected.value[2:]}`), and run `dvc repro` or `make pull`"
            )


def check_status(status: dict[str, list]):
    """Raises UserError if a parameter, source or metric has changed since dvc.lock was written, by DVC's status.

    Data and models of earlier stages may be missing, as after `dvc pull models/export`.
    """
    changes = [f"{stage}: {change}" for stage, entries in status.items() for change in changes_of(entries)]
    if changes:
        more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
        raise UserError(
            f"not published, the pipeline is not up to date ({', '.join(changes[:SHOWN])}{more}); run `dvc repro` first"
        )


def changes_of(entries: list) -> Iterator[str]:
    """Changes of one stage in words, from its entries in DVC's status."""
    for entry in entries:
        if isinstance(entry, str):  # "changed command"
            yield entry
            continue
        for changes in entry.values():
            for name, change in changes.items():
                if change in ABSENT and name.startswith(("data/", "models/")):
                    continue
                # Parameters are nested one level deeper: {"params.yaml": {"train.lr": "modified"}}
                inner = change if isinstance(change, dict) else {"": change}
                yield from (f"{name} {key} {word}".replace("  ", " ") for key, word in inner.items())
