"""Pieces of work spread over Ray's actors: each is done once, and again elsewhere if its actor dies."""

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TypeVar

from finetune.base.errors import UserError, one_line
from finetune.base.terminal import say

ATTEMPTS = 3  # deaths of an actor with one piece, or before its first
PATIENCE = 30  # seconds without a free core until somebody hears of it
GRACE = 10  # seconds for actors to remove their temporary files
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
        """Starts an actor. It waits for a free core, and then for its first piece."""
        actor = self.start()
        self.actors.append(actor)
        self.running[actor.ready.remote()] = actor, None

    def results(self, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, object]]:
        """Each piece with its result, or with the UserError that it raised, as they come in."""
        waiting, told = deque(pieces), False
        while waiting or any(piece is not None for _, piece in self.running.values()):
            while waiting and self.idle:
                actor, piece = self.idle.pop(), waiting.popleft()
                self.running[actor.work.remote(piece)] = actor, piece
            done, _ = self.ray.wait(list(self.running), num_returns=1, timeout=PATIENCE)
            if not done:
                if not told and all(piece is None for _, piece in self.running.values()):
                    say("waiting for a free core in the cluster", sys.stderr)
                    told = True
                continue
            actor, piece = self.running.pop(done[0])
            try:
                result = self.ray.get(done[0])
            except self.ray.exceptions.RayActorError as error:
                self.replace(actor, piece, error)
                if piece is not None:
                    waiting.append(piece)
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
        busy = {call: actor for call, (actor, piece) in self.running.items() if piece is not None}
        for actor in busy.values():
            actor.stop.remote()
        if busy:
            self.ray.wait(list(busy), num_returns=len(busy), timeout=GRACE)
        for actor in self.actors:
            self.ray.kill(actor)
