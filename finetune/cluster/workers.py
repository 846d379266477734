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
        """Starts an actor. It waits for a free core, and then for its first piece."""
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
            done, _ = self.ray.wait(list(self.running), num_returns=1, timeout=PATIENCE)
            if not done:
                if not reported and all(piece is None for _, piece in self.running.values()):
                    say("waiting for a free core in the cluster", sys.stderr)
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
        # One that waits for a core never answers.
        waiting = [actor for actor, piece in self.running.values() if piece is None]
        stops = [actor.stop.remote() for actor in self.actors if actor not in waiting]
        ending = stops + [call for call, (_, piece) in self.running.items() if piece is not None]
        if ending:
            self.ray.wait(ending, num_returns=len(ending), timeout=GRACE)
        for actor in self.actors:
            self.ray.kill(actor)
