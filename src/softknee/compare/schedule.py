"""Trains the batches of a comparison that are not in the store yet, several side by side.

The backend trains; the store and the listener are used by the calling thread alone.
"""

from __future__ import annotations

import collections
import queue
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from softknee.compare.activations import Activation
from softknee.compare.backends import Backend, Outcomes
from softknee.compare.conditions import Condition
from softknee.compare.engine import Outcome, Training
from softknee.compare.errors import CompareError
from softknee.compare.protocol import Run
from softknee.compare.store import Store

_ATTEMPTS = 3  # for a batch whose worker dies
_WAIT = 0.25  # seconds between two looks at what workers elsewhere say
_LOOK = 1.0  # seconds between two looks at what other processes train


@dataclass(frozen=True)
class Progress:
    """An event: `done` of `total` units of work (about proportional to time), what is being trained, and
    now and then a `note` worth a line of its own."""

    done: float
    total: float
    text: str
    note: str = ""


Listener = Callable[[Progress], None]


@dataclass(frozen=True, eq=False)
class Batch:
    """Runs of one activation and condition that are trained together, by their keys in the store; `cost` is about
    proportional to the time that an epoch of one of them takes."""

    activation: Activation
    condition: Condition
    runs: dict[str, Run]
    cost: float

    @property
    def work(self) -> float:
        return len(self.runs) * self.cost * self.condition.protocol.epochs

    def __str__(self) -> str:
        return f"{self.activation.label}, {self.condition.title}"


@dataclass(eq=False)
class _Flight:
    """A batch on its way: the runs that are being trained, how often they were begun, the work told so far, how far
    they have come, and whether it is over."""

    batch: Batch
    runs: dict[str, Run]
    attempts: int = 1
    told: float = 0.0
    state: bytes | None = None
    over: bool = False


if TYPE_CHECKING:
    _Event = Future[Outcomes] | tuple[_Flight, float, bytes | None]  # the end of a flight, or word of it


class Schedule:
    """Takes batches; `trained` and `found` count runs, of `expected` that all calls will need, if that is known."""

    def __init__(
        self, store: Store, listener: Listener, backend: Backend, work: float = 0.0, expected: int = 0
    ) -> None:
        self.store, self.listener, self.backend = store, listener, backend
        self.trained = self.found = 0
        self.work, self.expected = work, expected
        self.outcomes: dict[Condition, dict[Run, Outcome]] = collections.defaultdict(dict)
        self._done = 0.0
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._flying: dict[Future[Outcomes], _Flight] = {}

    def tell(self, text: str, note: str = "") -> None:
        self.listener(Progress(self._done, self.work, text, note))

    def run(self, batches: Iterable[Batch], over: Callable[[], bool] = lambda: False) -> None:
        """Adds to `outcomes`, what is found and what is trained, in the order of the batches, until it is `over`: what
        is being trained then ends after its current step, and is kept as far as it came. Ctrl-C keeps what there is,
        and says where."""
        waiting = iter(batches)
        elsewhere: list[Batch] = []  # another process is training them
        look = 0.0
        try:
            while True:
                while not over() and len(self._flying) < self.backend.slots:
                    if (batch := next(waiting, None)) is None:
                        break
                    elsewhere += self._begin(batch)
                if over():
                    self._halt()
                    return
                if not (elsewhere or self._flying):
                    return
                if elsewhere and len(self._flying) < self.backend.slots and time.monotonic() >= look:
                    waiting, elsewhere = iter(elsewhere), []
                    look = time.monotonic() + _LOOK
                    continue
                if elsewhere and not self._flying:
                    count = sum(len(batch.runs) for batch in elsewhere)
                    self.tell(f"waiting for {count:,} runs that another process is training")
                self._listen()
        except BaseException as error:
            self.listener = lambda _: None  # it may be what has raised it, and would again
            self.backend.close()
            while not self._events.empty():
                self._hear(self._events.get(), stopping=True)
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(self._kept()) from None
            raise

    def _halt(self) -> None:
        self.backend.halt()
        while not self._events.empty():
            self._hear(self._events.get(), stopping=True)
        for future, flight in list(self._flying.items()):
            flight.over = True
            error = future.exception() if future.done() and not future.cancelled() else None
            if isinstance(error, CompareError):
                raise error
            if future.done() and not future.cancelled() and error is None:
                self._collect(future)
        self._flying.clear()

    def _begin(self, batch: Batch) -> list[Batch]:
        """Takes the runs that are there, trains those that nobody is training, and returns the others."""
        missing = self._take(batch, batch.runs)
        mine = self.store.claim(missing) if missing else set()
        missing = self._take(batch, missing)  # what another had finished before it was claimed is there now
        if own := {key: run for key, run in missing.items() if key in mine}:
            self._launch(_Flight(batch, own, state=self.store.state(own)))
        self.tell(str(batch))
        theirs = {key: run for key, run in missing.items() if key not in mine}
        return [replace(batch, runs=theirs)] if theirs else []

    def _take(self, batch: Batch, runs: dict[str, Run]) -> dict[str, Run]:
        """Those of the runs that are not finished."""
        finished = self.store.find(runs)
        self.outcomes[batch.condition] |= {runs[key]: outcome for key, outcome in finished.items()}
        self.found += len(finished)
        self._done += len(finished) * batch.work / len(batch.runs)
        return {key: run for key, run in runs.items() if key not in finished}

    def _launch(self, flight: _Flight) -> None:
        batch, condition = flight.batch, flight.batch.condition
        future = self.backend.start(
            Training(
                tuple(flight.runs.values()),
                batch.activation,
                condition.task,
                condition.protocol,
                flight.state,
            ),
            lambda share, state: self._events.put((flight, share, state)),
        )
        self._flying[future] = flight
        future.add_done_callback(self._events.put)

    def _listen(self) -> None:
        """Waits for the next event, but not for long."""
        self.store.beat()
        try:
            event = self._events.get(timeout=_WAIT)
        except queue.Empty:
            self.backend.poll()
            return
        if isinstance(event, Future):
            self.backend.poll()
        self._hear(event)

    def _hear(self, event: _Event, stopping: bool = False) -> None:
        if isinstance(event, Future):
            if event in self._flying and not (stopping and (event.cancelled() or event.exception())):
                self._collect(event)
            return
        flight, share, state = event
        if flight.over:
            return
        if state is not None:
            flight.state = state
            self.store.keep(flight.runs, state)
        if not stopping:
            self._advance(flight, share)

    def _advance(self, flight: _Flight, share: float) -> None:
        """So much of the flight is done; one that was begun again is not done twice."""
        work = share * len(flight.runs) * flight.batch.cost * flight.batch.condition.protocol.epochs
        self._done += max(0.0, work - flight.told)
        flight.told = max(flight.told, work)
        self.tell(str(flight.batch))

    def _collect(self, future: Future[Outcomes]) -> None:
        """Keeps a finished batch; an error in it is raised here. One whose worker died is begun again."""
        flight = self._flying.pop(future)
        flight.over = True
        error = future.exception()
        if error is not None and self.backend.lost(error):
            if flight.attempts == _ATTEMPTS:
                raise CompareError(
                    f"{flight.batch}: its worker died {_ATTEMPTS} times, perhaps for want of memory; try fewer jobs"
                ) from error
            self.tell(str(flight.batch), f"a worker died; {flight.batch} is trained again")
            self._launch(replace(flight, attempts=flight.attempts + 1, over=False))
            return
        new = future.result()
        warned = len(self.store.warnings)
        self.store.save({key: (run, new[run]) for key, run in flight.runs.items()})
        self.outcomes[flight.batch.condition] |= new
        self.trained += len(new)
        self._advance(flight, 1.0)
        for warning in self.store.warnings[warned:]:
            self.tell(str(flight.batch), warning)

    def _kept(self) -> str:
        place = self.store.place
        begun = sum(len(flight.runs) for flight in self._flying.values() if flight.state)
        kept = (
            f"kept in {place}{f', and how far {begun} more have come' * bool(begun)}; the same call continues"
            if place
            else "lost: they were in memory only"
        )
        of = f" of {self.expected}" * (self.expected > 0)
        return f"stopped: {self.found + self.trained}{of} runs are {kept}"
