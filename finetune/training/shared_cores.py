"""Cores shared with other programs: threads that wait for each other sleep while the cores are busy, and spin otherwise.

OpenMP's threads meet after every operation, and whoever comes first spins until the others arrive. Alone that is the
fastest way to wait. Beside another program it takes the core from the thread that is waited for: two trainings on two cores
took six to eight times as long as one. No fixed setting serves both cases (docs/benchmarks.md).
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch

CHOSEN_BY_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
SECONDS = 0.25  # between two looks; reading the waiting times of 20 threads takes half a millisecond
# Share of the time that a computing thread waits for a core: 0.01 alone, 0.25 beside another training.
BUSY, QUIET = 0.08, 0.03
THREADS = Path("/proc/self/task")  # Linux
PARALLEL = 1 << 18  # elements that torch adds in all threads


@contextlib.contextmanager
def sharing_cores() -> Iterator[None]:
    """Block in which threads stop spinning while other programs use the cores too.

    Without effect if the environment chooses the way to wait, with one thread, and where the system does not say how long
    threads wait for a core. Results do not change: the number of threads stays the same.
    """
    if torch.get_num_threads() == 1 or any(name in os.environ for name in CHOSEN_BY_USER) or waited() is None:
        yield
        return
    end = threading.Event()
    watch = threading.Thread(target=watch_cores, args=(end,), daemon=True)
    watch.start()
    try:
        yield
    finally:
        end.set()
        watch.join()


def watch_cores(end: threading.Event):
    """Looks every quarter of a second how long the threads waited for a core, until `end`."""
    threads, idle = torch.get_num_threads(), IdleTeams()
    before, at = waited(), time.perf_counter()
    try:
        while not end.wait(SECONDS):
            now, moment = waited(), time.perf_counter()
            share = (now - before) / (moment - at) / threads
            before, at = now, moment
            if should_sleep(share, sleeping=idle.present):
                idle.start()
            else:
                idle.stop()
    finally:
        idle.stop()


def should_sleep(share: float, sleeping: bool) -> bool:
    """Whether waiting threads should sleep, from the share of the time that each waited for a core, and whether they do now."""
    return share > (QUIET if sleeping else BUSY)


def waited() -> float | None:
    """Seconds that all threads of this process have waited for a core; None where the system does not say."""
    total = 0
    try:
        for thread in THREADS.iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                total += int((thread / "schedstat").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return total / 1e9


class IdleTeams:
    """Teams of OpenMP threads that do nothing: while they exist, libgomp counts more threads than cores.

    Then it spins 100 times before a thread sleeps, instead of 300,000 times
    (gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html). It reads its variables only once, when it is loaded, so this
    is the way to change it in a running process. Other OpenMP libraries do not mind.
    """

    def __init__(self):
        self.end = threading.Event()
        self.teams: list[threading.Thread] = []

    @property
    def present(self) -> bool:
        return bool(self.teams)

    def start(self):
        """Starts as many teams as make more threads than cores; does nothing if they exist."""
        if self.teams:
            return
        self.end.clear()
        size, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
        count = max(0, cores - size) // (size - 1) + 1
        ready = threading.Barrier(count + 1)
        self.teams = [threading.Thread(target=self.hold, args=(ready,), daemon=True) for _ in range(count)]
        for team in self.teams:
            team.start()
        ready.wait()

    def hold(self, ready: threading.Barrier):
        torch.zeros(PARALLEL).add_(1)  # OpenMP gives this thread a team of its own, which lives as long as the thread
        ready.wait()
        self.end.wait()

    def stop(self):
        """Ends the teams, if there are any."""
        self.end.set()
        for team in self.teams:
            team.join()
        self.teams = []
