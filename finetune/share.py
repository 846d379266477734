"""Share results through the DVC remote, so that nobody runs what a colleague has run.

    python -m finetune.share push       (make push)
    python -m finetune.share pull       (make pull)

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
from dvc.fs.callbacks import TqdmCallback
from dvc.repo import Repo

from finetune.base.command import Parser, run
from finetune.base.errors import UserError, library_problem, one_line
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


def pull(repo: Repo):
    """Fetches records and outputs; outputs of this commit that nobody pushed are left to `make repro`."""
    result = repo.pull(run_cache=True, allow_missing=True)
    missing = sum(not out.exists for out in repo.index.outs if out.use_cache)
    say(
        f"{result['stats']['fetched']} files fetched"
        + (f"; {missing} outputs of this commit are not in the remote, and `make repro` makes them" if missing else "")
    )


def main():
    parser = Parser(
        prog="python -m finetune.share", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "direction", choices=("push", "pull"), help="send this clone's results, or fetch those of others"
    )
    direction = parser.parse_args().direction
    # The clients of S3 print this after a connection has failed.
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
    logging.getLogger("dvc").setLevel(logging.ERROR)  # a list of hashes for outputs that are missing
    try:
        with Repo() as repo:
            repo.cloud.get_remote()  # raises NoRemoteError; `pull` would not if everything is here
            {"push": push, "pull": pull}[direction](repo)
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
        if library_problem(error):
            raise
        raise UserError(
            f"the remote cannot be used ({type(error).__name__}: {one_line(error)}); check its address, `dvc remote list`, "
            "and your credentials. Nothing is lost here"
        ) from None


if __name__ == "__main__":
    raise SystemExit(run(main))
