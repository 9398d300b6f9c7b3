"""Trains the batches of a comparison that are not in the store yet, several side by side.

The backend trains; the store and the listener are used by the calling thread alone.
"""

from __future__ import annotations

import collections
import queue
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from softknee.compare.activations import Activation
from softknee.compare.backends import Backend, Outcomes
from softknee.compare.conditions import Condition
from softknee.compare.engine import Outcome
from softknee.compare.errors import CompareError
from softknee.compare.networks import NETWORKS
from softknee.compare.protocol import Run
from softknee.compare.store import Store

_ATTEMPTS = 3  # for a batch whose worker dies
_WAIT = 0.25  # seconds between two looks at the epochs that ended elsewhere


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


@dataclass
class _Flight:
    """A batch on its way: the runs that are being trained, how often they were begun, the work told so far."""

    batch: Batch
    runs: dict[str, Run]
    attempts: int = 1
    told: float = 0.0


class Schedule:
    """Takes batches, the longest first; `trained` and `found` count runs, of `expected` that all calls will need.

    Batches of equal length are in an order of chance where the store is kept: processes that share one seldom meet.
    """

    def __init__(
        self, store: Store, listener: Listener, backend: Backend, work: float, expected: int
    ) -> None:
        self.store, self.listener, self.backend = store, listener, backend
        self.trained = self.found = 0
        self.expected = expected
        self.outcomes: dict[Condition, dict[Run, Outcome]] = collections.defaultdict(dict)
        self._done, self._total = 0.0, work
        self._events: queue.SimpleQueue[_Flight | Future[Outcomes]] = queue.SimpleQueue()
        self._flying: dict[Future[Outcomes], _Flight] = {}

    def tell(self, text: str, note: str = "") -> None:
        self.listener(Progress(self._done, self._total, text, note))

    def run(self, batches: Sequence[Batch]) -> None:
        """Adds to `outcomes`, what is found and what is trained. Ctrl-C keeps what is finished, and says where."""
        shuffled = list(batches)
        if self.store.place is not None:
            random.shuffle(shuffled)
        waiting = iter(sorted(shuffled, key=lambda batch: -batch.work))
        try:
            while len(self._flying) < self.backend.slots and self._launch_next(waiting):
                pass
            while self._flying:
                try:
                    event = self._events.get(timeout=_WAIT)
                except queue.Empty:
                    self.backend.poll()
                    continue
                if isinstance(event, Future):
                    self.backend.poll()
                    if self._collect(event):
                        self._launch_next(waiting)
                else:
                    self._advance(event, self._epoch(event))
        except BaseException as error:
            self.backend.close()
            for future in list(self._flying):
                if future.done() and not future.cancelled() and future.exception() is None:
                    self._collect(future)
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(self._kept()) from None
            raise

    def _launch_next(self, waiting: Iterator[Batch]) -> bool:
        """Starts the next batch with something to train; the runs that are there already are taken."""
        for batch in waiting:
            finished = self.store.find(batch.runs)  # asked at the last moment: others may share the store
            self.outcomes[batch.condition] |= {batch.runs[key]: outcome for key, outcome in finished.items()}
            self.found += len(finished)
            self._done += len(finished) * batch.work / len(batch.runs)
            self.tell(str(batch))
            missing = {key: run for key, run in batch.runs.items() if key not in finished}
            if missing:
                self._launch(_Flight(batch, missing))
                return True
        return False

    def _launch(self, flight: _Flight) -> None:
        batch, condition = flight.batch, flight.batch.condition
        future = self.backend.start(
            list(flight.runs.values()),
            batch.activation,
            condition.task,
            condition.protocol,
            lambda: self._events.put(flight),
        )
        self._flying[future] = flight
        future.add_done_callback(self._events.put)

    def _epoch(self, flight: _Flight) -> float:
        together = len(flight.runs) if flight.batch.condition.protocol.network in NETWORKS else 1
        return together * flight.batch.cost

    def _advance(self, flight: _Flight, work: float) -> None:
        """So much more of the flight is done, but no more than there is of it."""
        most = len(flight.runs) * flight.batch.cost * flight.batch.condition.protocol.epochs
        work = min(work, most - flight.told)
        flight.told += work
        self._done += work
        self.tell(str(flight.batch))

    def _collect(self, future: Future[Outcomes]) -> bool:
        """Keeps a finished batch; an error in it is raised here. False: its worker died, and it is begun again."""
        flight = self._flying.pop(future)
        error = future.exception()
        if error is not None and self.backend.lost(error):
            if flight.attempts == _ATTEMPTS:
                raise CompareError(
                    f"{flight.batch}: its worker died {_ATTEMPTS} times, perhaps for want of memory; try fewer jobs"
                ) from error
            self.tell(str(flight.batch), f"a worker died; {flight.batch} is trained again")
            self._launch(_Flight(flight.batch, flight.runs, flight.attempts + 1, flight.told))
            return False
        new = future.result()
        warned = len(self.store.warnings)
        self.store.save({key: (run, new[run]) for key, run in flight.runs.items()})
        self.outcomes[flight.batch.condition] |= new
        self.trained += len(new)
        self._advance(flight, float("inf"))
        for warning in self.store.warnings[warned:]:
            self.tell(str(flight.batch), warning)
        return True

    def _kept(self) -> str:
        place = self.store.place
        kept = f"kept in {place}; the same call continues" if place else "lost: they were in memory only"
        return f"stopped: {self.found + self.trained} of {self.expected} runs are {kept}"
