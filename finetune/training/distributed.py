"""Several training processes: which one this is, and how a stage starts them."""

import logging
import os
import sys

import torch
import torch.distributed

from finetune.base.errors import UserError


def rank() -> int:
    """Number of this process, from torchrun's environment; 0 alone."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """Number of processes that train together, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def wait():
    """Meeting point of all processes."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def leave():
    """Ends what the processes had in common; threads that still wait for others would abort a process at its end."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def from_first(value):
    """The first process's value, in every process."""
    values = [value]
    if torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(values)
    return values[0]


def from_all(value) -> list:
    """The values of all processes, in their order, in every process."""
    values = [value] * processes()
    if torch.distributed.is_initialized():
        torch.distributed.all_gather_object(values, value)
    return values


def launch(module: str, count: int) -> int:
    """Exit status of `count` processes that run a module under torchrun, on this machine.

    Raises UserError for more processes than there are cores (or GPUs, where there are any).
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    units = torch.cuda.device_count() or len(os.sched_getaffinity(0))
    if count > units:
        kind = "GPUs" if torch.cuda.is_available() else "cores"
        raise UserError(f"train.processes must be at most {units}, the {kind} of this machine, found {count}")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // count)))
    # Its reports are about processes; what went wrong is told by the process itself, in one line.
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
