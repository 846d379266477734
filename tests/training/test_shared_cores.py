"""Threads that wait for each other sleep while other programs use the cores."""

import subprocess
import sys
import threading

import pytest
import torch

from finetune.training.shared_cores import sharing_cores, should_sleep
from tests.conftest import ROOT

# Operations with a pause of 1 ms after each. A thread that spins is busy in the pauses, one that sleeps is not.
SCRIPT = """
import os, threading, time
import torch
from finetune.training import shared_cores
torch.set_num_threads(2)
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:2]))
def busy():
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(100):
        torch.zeros(1 << 16).add_(1)
        time.sleep(0.001)
    return (time.process_time() - spent) / (time.perf_counter() - began)
"""


def answers(script: str, **environment: str) -> list[str]:
    """Lines that the script prints in a process with two threads."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + script],
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2", "PATH": ""} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_idle_teams_keep_waiting_threads_from_spinning_and_ending_them_lets_them_spin():
    """Busy for 0.9 of a core while spinning, for a fifth or less while sleeping; beside other tests less than 0.9."""
    alone, idle, after = map(
        float,
        answers(
            "busy(); print(busy()); teams = shared_cores.IdleTeams(); teams.start(); print(busy()); teams.stop(); print(busy())"
        ),
    )
    assert idle < 0.5 * alone
    assert idle < 0.5 * after


def test_threads_sleep_when_other_programs_use_the_cores():
    """Four more threads that compute leave each of two threads a third of a core, so each waits two thirds of the time."""
    assert answers("""
seen = []
shared_cores.IdleTeams.start = lambda self: seen.append(True)
burners = [os.fork() for _ in range(4)]
if 0 in burners:
    while os.getppid() != 1 and time.process_time() < 20:
        pass
    os._exit(0)
with shared_cores.sharing_cores():
    end = time.monotonic() + 15
    while not seen and time.monotonic() < end:
        torch.zeros(1 << 20).add_(1)
for burner in burners:
    os.kill(burner, 9)
print(bool(seen))
""") == ["True"]


@pytest.mark.parametrize(
    ("share", "sleeping", "expected"),
    [(0.01, False, False), (0.05, False, False), (0.25, False, True), (0.05, True, True), (0.01, True, False)],
)
def test_a_short_wait_changes_nothing(share, sleeping, expected):
    """Beside another training each thread waits a quarter of the time, alone a hundredth; between, nothing changes."""
    assert should_sleep(share, sleeping) is expected


@pytest.mark.parametrize(
    "environment", [{"OMP_WAIT_POLICY": "passive"}, {"GOMP_SPINCOUNT": "1000"}, {"OMP_NUM_THREADS": "1"}]
)
def test_a_choice_in_the_environment_wins(environment, monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    threads = threading.active_count()
    monkeypatch.setattr(torch, "get_num_threads", lambda: int(environment.get("OMP_NUM_THREADS", "2")))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with sharing_cores():
        assert threading.active_count() == threads
    for name in environment:
        monkeypatch.delenv(name)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with sharing_cores():
        assert threading.active_count() == threads + 1
    assert threading.active_count() == threads
