"""Processes that train together must have the same data and settings, and share a folder."""

import subprocess
import sys

import pytest

TWO = """
import os, sys
from pathlib import Path
import torch.distributed
from finetune.base import command
from finetune.training.distributed import check_same

def main(rank):
    torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=rank, world_size=2)
    check_same(sys.argv[2 + rank], Path(sys.argv[4 + rank]))

child = os.fork()
rank = 0 if child else 1
os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
if not child:
    sys.stderr = open(os.devnull, "w")  # the first process reports
    command.RANK_0_REPORTS = 1
status = command.run(lambda: main(rank))
if child:
    os.waitpid(child, 0)
os._exit(status)
"""


@pytest.mark.parametrize(
    ("keys", "folders", "message"),
    [
        (("one", "one"), ("shared", "shared"), ""),
        (
            ("one", "other"),
            ("shared", "shared"),
            "has other data, code, settings, precision or threads than process 0 on",
        ),
        (("one", "one"), ("shared", "own"), "does not see the folder of process 0 on"),
    ],
)
def test_processes_that_differ_or_share_no_folder_end_in_one_line(tmp_path, keys, folders, message):
    folders = [str(tmp_path / name) for name in folders]
    done = subprocess.run(
        [sys.executable, "-c", TWO, str(tmp_path / "rendezvous"), *keys, *folders],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == bool(message), done.stderr
    assert len(lines) == bool(message)
    assert all(line.startswith("error: process 1 on ") and message in line for line in lines)
    assert not list(tmp_path.glob("*/seen-*"))
