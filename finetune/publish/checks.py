"""Send the exported model out, if the gate holds and it is the model that dvc.lock names.

    python -m finetune.publish hf://OWNER/NAME[@BRANCH]     (make publish TO=…) one commit on the Hugging Face Hub
    python -m finetune.publish s3://BUCKET/KEY              a model.tar.gz for SageMaker
    python -m finetune.publish FOLDER                       a copy with checksums

Whatever breaks off, nothing is half published: files that were there stay as they were. A repository or branch on the
Hub that had to be made first may stay, without the model.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetune.base.errors import FULL, UserError, one_line
from finetune.base.params import read_params
from finetune.gate.thresholds import HOLDS, check
from finetune.publish import folder, hub, s3
from finetune.results.metrics import read_metrics

EXPORT = Path("models/export")
ABSENT = ("deleted", "not in cache")  # DVC's words
SHOWN = 3  # changes that are told
PLACES = {"hf": hub, "s3": s3}  # by scheme; what has none is a folder


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
    out = next((out for out in repo.index.outs if out.def_path == str(EXPORT)), None)
    if out is None or not out.hash_info:
        raise UserError(f"not published: no dvc.lock here says which {EXPORT} is meant; run `dvc repro`")
    if not out.exists:
        raise UserError(
            f"not published: {EXPORT} is missing; get it with `dvc pull {EXPORT}` from a remote, or make it with `dvc repro`"
        )
    if out.changed_checksum():
        raise UserError(
            f"not published: {EXPORT} is not the folder that dvc.lock names; bring that back with "
            f"`dvc checkout --force {EXPORT}`, or make it again with `dvc repro --force export`"
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


def main():
    parser = argparse.ArgumentParser(prog="python -m finetune.publish", description="Send the exported model out.")
    parser.add_argument("to", metavar="TO", help="hf://OWNER/NAME, s3://BUCKET/KEY or a folder")
    parser.add_argument("--private", action="store_true", help="a repository that this makes on the Hub is private")
    arguments = parser.parse_args()
    scheme, separator, _ = arguments.to.partition("://")
    # s3:/bucket is no folder that anyone means.
    mistyped = not separator and scheme.startswith(tuple(f"{name}:" for name in PLACES))
    if not arguments.to or mistyped or (separator and scheme not in PLACES):
        raise UserError(f"cannot publish to {arguments.to!r}; expected hf://OWNER/NAME, s3://BUCKET/KEY or a folder")
    if arguments.private and scheme != "hf":
        raise UserError("--private is for hf://OWNER/NAME; elsewhere the place says who may read it")
    module = PLACES[scheme] if separator else folder
    place = module.place(arguments.to)
    options = {"private": True} if arguments.private else {}
    try:
        with checked_pipeline():
            print(module.publish(EXPORT, place, **options))
    except OSError as error:
        if error.errno in FULL:
            raise UserError(f"not published: no room for a copy ({one_line(error)}); free some space") from None
        raise UserError(f"not published: {one_line(error)}; make that place writable, or name another") from None
