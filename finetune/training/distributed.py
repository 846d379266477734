"""Training in several processes: which one this is, what they exchange, and how a stage starts them."""

import logging
import os
import platform
import sys
import uuid
from pathlib import Path

import torch
import torch.distributed
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from finetune.base.errors import UserError


def rank() -> int:
    """Rank of this process, from torchrun's environment; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """Number of processes that train together, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def wait():
    """Waits until all processes have called it."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def leave():
    """Destroys the process group: at exit, a thread that still waits for another process would abort this one."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def from_first(value):
    """The value of the process with rank 0, in every process."""
    values = [value]
    if torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(values)
    return values[0]


def from_all(value) -> list:
    """The values of all processes by rank, in every process."""
    values = [value] * processes()
    if torch.distributed.is_initialized():
        torch.distributed.all_gather_object(values, value)
    return values


def check_same(key: str, folder: Path):
    """Raises UserError, in every process, if processes have different keys, or do not share a folder.

    `key` identifies data, code, settings and versions.
    """
    if processes() == 1:
        return
    # A name that nobody has looked for yet: network file systems remember for seconds that a file is missing.
    mark = folder / from_first(f"seen-{uuid.uuid4().hex}")
    if rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
    wait()
    found = from_all((platform.node(), key, mark.exists()))
    if rank() == 0:
        mark.unlink()
    (first, expected, _), others = found[0], list(enumerate(found))[1:]
    if differ := [f"process {number} on {node}" for number, (node, other, _) in others if other != expected]:
        raise UserError(
            f"{', '.join(differ)} has other data, code, settings, precision or threads than process 0 on {first}; start "
            "torchrun in one folder that all machines share, with the same OMP_NUM_THREADS, and set train.precision to bf16 or fp32"
        )
    if blind := [f"process {number} on {node}" for number, (node, _, there) in others if not there]:
        raise UserError(
            f"{', '.join(blind)} does not see the folder of process 0 on {first}; start torchrun in one folder that all "
            "machines share"
        )


def launch(module: str, count: int) -> int:
    """Runs a module in `count` processes under torchrun on this machine and returns their exit status.

    Raises UserError for more processes than there are GPUs, or cores on a machine without GPUs.
    """
    units = torch.cuda.device_count() or len(os.sched_getaffinity(0))
    if count > units:
        kind = "GPUs" if torch.cuda.is_available() else "cores"
        raise UserError(f"train.processes must be at most {units}, the {kind} of this machine, found {count}")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // count)))
    # torchrun reports about processes; the process that failed has already reported its error in one line.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, sys.executable)("-m", module)
    except ChildFailedError as error:
        return next((failure.exitcode for failure in error.failures.values() if failure.exitcode > 0), 1)
    except SignalException as stop:
        return 128 + stop.sigval
    return 0
