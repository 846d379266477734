"""Pieces of work spread over Ray's actors: each is done once, and again elsewhere if its actor dies."""

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TypeVar

from finetune.base.errors import UserError, one_line
from finetune.base.terminal import say

ATTEMPTS = 3  # deaths of an actor with one piece, or before its first
PATIENCE = 30  # seconds without room until somebody hears of it
GRACE = 30  # seconds for actors to end their work and remove their temporary files
Piece = TypeVar("Piece")


class Workers:
    """Actors with the methods `ready()`, `work(piece)` and `stop()`, which a call of `start` begins.

    `start` makes an actor with at least two threads, so that `stop` reaches one that works. Raises UserError if an actor
    cannot get ready.
    """

    def __init__(self, ray: ModuleType, start: Callable, count: int):
        self.ray, self.start = ray, start
        self.actors: list = []
        self.idle: list = []
        self.running: dict = {}  # reference of a call -> actor, piece (None: it gets ready)
        self.deaths: Counter = Counter()
        for _ in range(count):
            self.add()

    def add(self):
        """Starts an actor. It waits for room, and then for its first piece."""
        actor = self.start()
        self.actors.append(actor)
        self.running[actor.ready.remote()] = actor, None

    def results(self, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, object]]:
        """Each piece with its result, or with the UserError that it raised, as they come in.

        A piece is taken from `pieces` when an actor is free for it, so it may depend on the results so far.
        """
        pieces, again, reported = iter(pieces), deque(), False
        while True:
            while self.idle and (piece := again.popleft() if again else next(pieces, None)) is not None:
                actor = self.idle.pop()
                self.running[actor.work.remote(piece)] = actor, piece
            if not again and self.idle and all(piece is None for _, piece in self.running.values()):
                return
            done = self.next_done()
            if not done:
                if not reported and all(piece is None for _, piece in self.running.values()):
                    say("waiting for room in the cluster", sys.stderr)
                    reported = True
                continue
            actor, piece = self.running.pop(done[0])
            try:
                result = self.ray.get(done[0])
            except self.ray.exceptions.RayActorError as error:
                self.replace(actor, piece, error)
                if piece is not None:
                    again.append(piece)
                continue
            except self.ray.exceptions.RuntimeEnvSetupError as error:
                raise UserError(f"a worker could not get this project's code ({one_line(error)[:300]})") from None
            except self.ray.exceptions.RayTaskError as error:
                result = error.cause
                if piece is None or not isinstance(result, UserError):
                    raise result from None
            self.idle.append(actor)
            if piece is not None:
                yield piece, result

    def next_done(self) -> list:
        """The call that ends next; empty if none does in PATIENCE seconds."""
        try:
            return self.ray.wait(list(self.running), num_returns=1, timeout=PATIENCE)[0]
        except SystemError as error:
            # What a signal handler raises while Ray's compiled code waits, such as Stopped on SIGTERM.
            raise (error.__cause__ or error) from None

    def replace(self, actor, piece, error: Exception):
        """Another actor for a dead one; raises UserError for a piece, or a start, that has ended too many."""
        self.actors.remove(actor)
        self.deaths[piece] += 1
        if self.deaths[piece] == ATTEMPTS:
            what = "before it was ready" if piece is None else f"with {piece}"
            raise UserError(
                f"a worker ended {what} {ATTEMPTS} times ({one_line(error)[:300]}); it may need more memory than its machine has"
            )
        say(f"a worker ended{'' if piece is None else f' with {piece}'}; another one takes over", sys.stderr)
        self.add()

    def end(self):
        """Ends every actor. Those that work stop at their next step, and remove what they have not finished."""
        # One that waits for room never answers.
        waiting = [actor for actor, piece in self.running.values() if piece is None]
        stops = [actor.stop.remote() for actor in self.actors if actor not in waiting]
        ending = stops + [call for call, (_, piece) in self.running.items() if piece is not None]
        if ending:
            self.ray.wait(ending, num_returns=len(ending), timeout=GRACE)
        for actor in self.actors:
            self.ray.kill(actor)


def places(ray: ModuleType, cores: int, gpus: int, options: str) -> int:
    """Actors with so many cores and GPUs that the cluster has room for. Raises UserError that names `options` if it has none.

    Each needs one machine with all of it. Ray itself would wait for such a machine, without a word.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    each = [[int(machine.get(kind, 0)) for kind in ("CPU", "GPU")] for machine in machines]
    found = sum(min(has[0] // cores, has[1] // gpus if gpus else has[0]) for has in each)
    if not found:
        has = ", ".join(
            f"{count} with {kind}" for kind, count in Counter(in_words(*has) for has in each).most_common(5)
        )
        raise UserError(
            f"no machine of the cluster has the {in_words(cores, gpus)} that a worker needs (machines: {has}); "
            f"ask for less with {options}, or add a machine with `ray start`"
        )
    return found


def in_words(cores: int, gpus: int) -> str:
    """What a machine has, or a worker needs: "1 core and 2 GPUs"."""
    return " and ".join(
        f"{count} {name}{'' if count == 1 else 's'}" for count, name in ((cores, "core"), (gpus, "GPU"))
    )
