"""Trains the batches of a comparison that are not in the store yet, several side by side.

A batch is trained by one thread that computes on one core: for networks this small that is faster than sharing
each operation among cores, and it does not suffer when other programs keep the cores busy. The store and the
listener are used by the calling thread alone.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch

from softknee.compare.activations import Activation
from softknee.compare.conditions import Condition
from softknee.compare.engine import Outcome, train
from softknee.compare.networks import NETWORKS
from softknee.compare.protocol import Run
from softknee.compare.store import Store


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


class _Stopped(Exception):  # noqa: N818
    """Ends a worker after its current epoch."""


class Schedule:
    """The batches, the longest first; `trained` and `found` count runs."""

    def __init__(
        self,
        batches: Sequence[Batch],
        store: Store,
        listener: Listener,
        jobs: int,
    ) -> None:
        self.batches = sorted(batches, key=lambda batch: -batch.work)
        self.store, self.listener, self.jobs = store, listener, jobs
        self.trained = self.found = 0
        self.outcomes: dict[Condition, dict[Run, Outcome]] = {batch.condition: {} for batch in batches}
        self._done = 0.0
        self._total = sum(batch.work for batch in batches)
        self._stop = threading.Event()
        self._finished_epochs: queue.SimpleQueue[tuple[Batch, float] | Future[dict[Run, Outcome]]] = (
            queue.SimpleQueue()
        )
        self._flying: dict[Future[dict[Run, Outcome]], tuple[Batch, dict[str, Run]]] = {}

    def tell(self, text: str, note: str = "") -> None:
        self.listener(Progress(self._done, self._total, text, note))

    def run(self) -> dict[Condition, dict[Run, Outcome]]:
        """Every condition's outcomes, found or trained. Ctrl-C keeps what is finished, and says where."""
        threads = torch.get_num_threads()
        waiting = iter(self.batches)
        # the number of threads is a thread's own, but its default for new ones is not: it is put back below
        with ThreadPoolExecutor(self.jobs, "compare", torch.set_num_threads, (1,)) as pool:
            try:
                while len(self._flying) < self.jobs and self._launch_next(pool, waiting):
                    pass
                while self._flying:
                    event = self._finished_epochs.get()
                    if isinstance(event, Future):
                        self._collect(event)
                        self._launch_next(pool, waiting)
                    else:
                        batch, work = event
                        self._done += work
                        self.tell(str(batch))
            except BaseException as error:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                for future in [f for f in self._flying if not f.cancelled() and f.exception() is None]:
                    self._collect(future)
                if isinstance(error, KeyboardInterrupt):
                    raise KeyboardInterrupt(self._kept()) from None
                raise
            finally:
                torch.set_num_threads(threads)
        return self.outcomes

    def _launch_next(self, pool: ThreadPoolExecutor, waiting: object) -> bool:
        """Starts the next batch with something to train; the runs that are there already are taken."""
        for batch in waiting:  # type: ignore[attr-defined]
            finished = self.store.find(batch.runs)  # asked at the last moment: others may share the folder
            self.outcomes[batch.condition] |= {batch.runs[key]: outcome for key, outcome in finished.items()}
            self.found += len(finished)
            self._done += len(finished) * batch.work / len(batch.runs)
            self.tell(str(batch))
            missing = {key: run for key, run in batch.runs.items() if key not in finished}
            if missing:
                future = pool.submit(self._train, batch, list(missing.values()))
                self._flying[future] = (batch, missing)
                future.add_done_callback(self._finished_epochs.put)
                return True
        return False

    def _train(self, batch: Batch, runs: list[Run]) -> dict[Run, Outcome]:
        """In a worker thread."""

        def on_epoch(epoch: int) -> None:
            if self._stop.is_set():
                raise _Stopped
            self._finished_epochs.put((batch, together * batch.cost))

        condition = batch.condition
        together = len(runs) if condition.protocol.network in NETWORKS else 1  # trained at once
        return train(runs, batch.activation, condition.task, condition.protocol, on_epoch)

    def _collect(self, future: Future[dict[Run, Outcome]]) -> None:
        """Keeps a finished batch; an error in it is raised here."""
        batch, runs = self._flying.pop(future)
        new = future.result()
        warned = len(self.store.warnings)
        self.store.save({key: (run, new[run]) for key, run in runs.items()})
        self.outcomes[batch.condition] |= new
        self.trained += len(new)
        for warning in self.store.warnings[warned:]:
            self.tell(str(batch), warning)

    def _kept(self) -> str:
        runs = sum(len(batch.runs) for batch in self.batches)
        place = self.store.place
        kept = f"kept in {place}; the same call continues" if place else "lost: they were in memory only"
        return f"stopped: {self.found + self.trained} of {runs} runs are {kept}"
