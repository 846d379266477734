"""Share results through the DVC remote, so that nobody runs what a colleague has run.

    python -m finetune.share push       (make push)
    python -m finetune.share pull       (make pull)
    python -m finetune.share check      (the start of make repro PULL=1)

`push` sends the outputs of every run in this clone's cache, then the records of the runs. `pull` fetches the outputs of the
current commit and the records. `make repro PULL=1` then takes each stage that anybody has run, with the same code, data
and settings, from the remote.
"""

import argparse
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

from dvc.config import NoRemoteError
from dvc.exceptions import CollectCacheError, DvcException, FileTransferError, NotDvcRepoError
from dvc.fs import HTTPFileSystem
from dvc.fs.callbacks import TqdmCallback
from dvc.repo import Repo

from finetune.base.command import Parser, run
from finetune.base.errors import UserError, library_problem, one_line
from finetune.base.files import md5, stays_inside
from finetune.base.terminal import say

NO_REMOTE = "no DVC remote is configured; name one: dvc remote add --default storage s3://bucket/path"


def recorded_runs(repo: Repo) -> list[tuple[str, str]]:
    """Keys of all runs of a stage that the cache holds a record of, as DVC's functions take them."""
    records = Path(repo.cache.legacy.path, "runs").glob("*/*/*")
    return sorted((path.parent.name, path.name) for path in records)


def outputs_of(repo: Repo, runs: list[tuple[str, str]]) -> Iterator[set]:
    """Hashes of the outputs of each run, metrics and plots included.

    `dvc push --run-cache` of DVC 3 sends the records but not the metrics and plots, which are in Git and not among the
    cached outputs. Without them no stage can be restored. Runs whose outputs have left the cache are passed over.
    """
    for record in runs:
        try:
            used = repo.stage_cache.get_used_objs([record])
        except (CollectCacheError, FileNotFoundError):
            continue
        yield {output for outputs in used.values() for output in outputs if repo.cache.local.exists(output.value)}


def send(repo: Repo, objects: set) -> int:
    """Sends the objects that the remote lacks, and returns their number.

    Each object is looked for in the remote itself. `dvc push` takes a directory whose list is there as complete.

    Raises:
        FileTransferError: some were not sent.
    """
    cache, remote = repo.cache.local, repo.cloud.get_remote_odb()
    with TqdmCallback(desc="Pushing", unit="file") as progress:
        sent = repo.cloud.transfer(cache, remote, objects, cache_odb=cache, callback=progress)
    if sent.failed:
        raise FileTransferError(len(sent.failed))
    return len(sent.transferred)


def push(repo: Repo):
    """Sends files, then lists of directories, then records of runs.

    So whatever lies in the remote is complete there, also after a push that broke. One `dvc push` of several directories
    (DVC 3.67) sends the list of a directory although a file failed that another directory holds too, and never sends
    that file again.
    """
    runs = recorded_runs(repo)
    outputs = set().union(*outputs_of(repo, runs), repo.used_objs(push=True)[None])
    directories = {output for output in outputs if output.isdir}
    count = send(repo, outputs - directories) + send(repo, directories)
    count += repo.push()  # what goes to another remote than the default one
    repo.stage_cache.push(None)
    say(f"the remote holds the results of {len(runs)} runs of a stage; {count} files were new to it")


def check(repo: Repo):
    """Raises UserError if a record of a run in the remote has a name that leads out of the cache.

    DVC (3.67) writes each record to the path that its name says, wherever that leads, such as onto the project's code.
    """
    remote = repo.cloud.get_remote_odb(hash_name="md5-dos2unix")
    runs = remote.fs.join(remote.path, "runs")
    if isinstance(remote.fs, HTTPFileSystem) or not remote.fs.exists(runs):  # DVC shares no records over HTTP
        return
    for path in remote.fs.find(runs):
        if not stays_inside(str(path)[len(str(runs)) :].lstrip("/")):
            raise UserError(
                f"the remote holds a file whose name leads out of the cache, {str(path)[-200:]!r}; nothing was fetched: find out "
                "who wrote it, and remove it"
            )


def pull(repo: Repo):
    """Fetches records and outputs; outputs of this commit that nobody pushed are left to `make repro`."""
    check(repo)
    fetched = fetch(repo)
    if missing_outputs(repo):
        # After a pull that was killed, DVC overlooks what that one had begun to fetch, once.
        repo.drop_data_index()
        fetched += fetch(repo)
    missing = missing_outputs(repo)
    say(
        f"{fetched} files fetched"
        + (
            f"; {missing} outputs of this commit are not in the remote, or are damaged there, and `make repro` makes them"
            if missing
            else ""
        )
    )


def fetch(repo: Repo) -> int:
    """Fetches records and outputs of this commit into the cache and then here; returns the number of files that came.

    Files whose content is not that of their name are removed from the cache again: DVC would take them as they are.
    """
    fetched = repo.fetch(run_cache=True)
    cache = repo.cache.local
    for output in repo.used_objs(force=True)[None]:
        path = Path(cache.oid_to_path(output.value))
        if path.is_file() and md5(path) != output.value.removesuffix(".dir"):
            path.unlink()
    repo.checkout(allow_missing=True)
    return fetched


def missing_outputs(repo: Repo) -> int:
    """Number of outputs of this commit that are not here."""
    return sum(not out.exists for out in repo.index.outs if out.use_cache)


class FirstLines(logging.Filter):
    """Lets a few lines through: DVC writes one for each file that could not be sent, mostly for one and the same reason."""

    left = 3

    def filter(self, _record: logging.LogRecord) -> bool:
        self.left -= 1
        return self.left >= 0


def main():
    parser = Parser(
        prog="python -m finetune.share", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "direction",
        choices=("push", "pull", "check"),
        help="send this clone's results, fetch those of others, or see whether the remote's records may be fetched",
    )
    direction = parser.parse_args().direction
    # The clients of S3 print this after a connection has failed.
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
    logging.getLogger("dvc").setLevel(logging.ERROR)  # a list of hashes for outputs that are missing
    logging.getLogger("dvc_data.hashfile.transfer").addFilter(FirstLines())
    try:
        with Repo() as repo:
            repo.cloud.get_remote()  # raises NoRemoteError; `pull` would not if everything is here
            {"push": push, "pull": pull, "check": check}[direction](repo)
    except NoRemoteError:
        raise UserError(NO_REMOTE) from None
    except NotDvcRepoError:
        raise UserError("this folder is no DVC project; run this from the project's root") from None
    except FileTransferError as error:
        raise UserError(
            f"{error.amount} files were not transferred; the others were, so run this again when the remote answers. A file "
            "that the remote lacks is sent by `make push` in the clone that made it"
        ) from None
    except DvcException as error:
        raise UserError(f"DVC cannot {direction}: {one_line(error)}") from None
    except Exception as error:  # libraries of the remotes raise errors of many kinds, most of them about the connection
        if isinstance(error, UserError) or library_problem(error):
            raise
        raise UserError(
            f"the remote cannot be used ({type(error).__name__}: {one_line(error)}); check its address, `dvc remote list`, "
            "and your credentials. Nothing is lost here"
        ) from None


if __name__ == "__main__":
    raise SystemExit(run(main))
