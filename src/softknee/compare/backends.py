"""Where batches are trained: in threads of this process, in processes of this machine, on a cluster.

A batch is trained by one thread that computes on one core: for networks this small that is faster than sharing each
operation among cores, and it does not suffer when other programs keep the cores busy. A backend takes batches and
gives futures; the store and everything else stay with the caller, in one thread.
"""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch

from softknee.compare import user
from softknee.compare.activations import Activation
from softknee.compare.engine import Outcome, train
from softknee.compare.errors import CompareError
from softknee.compare.protocol import Protocol as Settings
from softknee.compare.protocol import Run
from softknee.compare.tasks import Task

Outcomes = dict[Run, Outcome]
Name = Literal["threads", "joblib", "ray"]

NAMES = get_args(Name)


class Backend(Protocol):
    """`slots` batches are trained at a time. A future whose `lost(error)` is true may be started again."""

    slots: int

    def start(
        self,
        runs: Sequence[Run],
        activation: Activation,
        task: Task,
        protocol: Settings,
        on_epoch: Callable[[], None],
    ) -> Future[Outcomes]: ...

    def poll(self) -> None:
        """Passes on the epochs that have ended, where they do not come by themselves."""

    def lost(self, error: BaseException) -> bool:
        """Whether the worker died, rather than the training failed."""

    def close(self) -> None:
        """Ends what is still being trained, after its current epoch or at once."""


def backend(name: str, jobs: int, address: str | None = None) -> Backend:
    """`jobs`: batches at a time; of "ray" the cluster's processors count."""
    if name not in NAMES:
        raise CompareError(f"backend={name!r}; it is {', '.join(NAMES[:-1])} or {NAMES[-1]}")
    if address is not None and name != "ray":
        raise CompareError(f"address={address!r} is for the backend ray, not for {name}")
    return Ray(address) if name == "ray" else Processes(jobs) if name == "joblib" else Threads(jobs)


class _Stopped(Exception):  # noqa: N818
    """Ends a worker after its current epoch."""


class Threads:
    """Starts at once; past a few cores the threads wait for each other's Python."""

    def __init__(self, jobs: int) -> None:
        self.slots = jobs
        self._stop = threading.Event()
        self._before = torch.get_num_threads()
        # the number of threads is a thread's own, but its default for new ones is not: it is put back in `close`
        self._pool = ThreadPoolExecutor(jobs, "compare", torch.set_num_threads, (1,))

    def start(
        self,
        runs: Sequence[Run],
        activation: Activation,
        task: Task,
        protocol: Settings,
        on_epoch: Callable[[], None],
    ) -> Future[Outcomes]:
        def each(epoch: int) -> None:
            if self._stop.is_set():
                raise _Stopped
            on_epoch()

        return self._pool.submit(train, runs, activation, task, protocol, each)

    def poll(self) -> None:
        pass

    def lost(self, error: BaseException) -> bool:
        return False

    def close(self) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._before)


class Processes:
    """joblib's processes. They say through a file which batch has ended an epoch: its number, in four bytes."""

    def __init__(self, jobs: int) -> None:
        try:
            from joblib.externals.loky import get_reusable_executor
        except ImportError:
            raise CompareError("backend='joblib' needs joblib: pip install 'softknee[compare]'") from None
        self.slots, self._executor = jobs, get_reusable_executor
        self._folder = tempfile.TemporaryDirectory(prefix="softknee-")
        self._epochs = Path(self._folder.name) / "epochs"
        self._epochs.touch()
        self._seen = 0
        self._listeners: list[Callable[[], None]] = []

    def start(
        self,
        runs: Sequence[Run],
        activation: Activation,
        task: Task,
        protocol: Settings,
        on_epoch: Callable[[], None],
    ) -> Future[Outcomes]:
        self._listeners.append(on_epoch)
        told = (str(self._epochs), len(self._listeners) - 1)
        own = user.known(protocol.network)
        executor = self._executor(max_workers=self.slots, timeout=60)
        return executor.submit(_train, runs, activation, task, protocol, own, told)

    def poll(self) -> None:
        with self._epochs.open("rb") as file:
            file.seek(self._seen)
            found = file.read()
        found = found[: len(found) // 4 * 4]
        self._seen += len(found)
        for place in range(0, len(found), 4):
            self._listeners[int.from_bytes(found[place : place + 4], "little")]()

    def lost(self, error: BaseException) -> bool:
        from concurrent.futures import BrokenExecutor

        return isinstance(error, BrokenExecutor)

    def close(self) -> None:
        if self._epochs.exists():  # not closed before
            self._executor(max_workers=self.slots, timeout=60).shutdown(wait=True, kill_workers=True)
            self._folder.cleanup()


class Ray:
    """A cluster; without an address one is made of this machine's cores. A task is shipped once."""

    def __init__(self, address: str | None) -> None:
        try:
            import ray
        except ImportError:
            raise CompareError("backend='ray' needs Ray: pip install 'softknee[ray]'") from None
        self._ray, self._mine = ray, not ray.is_initialized()
        if self._mine:
            try:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise CompareError(
                    f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}"
                ) from None
        self.slots = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._train = ray.remote(num_cpus=1, max_retries=0)(_train)
        self._tasks: dict[str, Any] = {}
        self._refs: list[Any] = []

    def start(
        self,
        runs: Sequence[Run],
        activation: Activation,
        task: Task,
        protocol: Settings,
        on_epoch: Callable[[], None],
    ) -> Future[Outcomes]:
        if task.digest not in self._tasks:
            self._tasks[task.digest] = self._ray.put(task)
        own = user.known(protocol.network)
        ref = self._train.remote(runs, activation, self._tasks[task.digest], protocol, own)
        self._refs.append(ref)
        return ref.future()

    def poll(self) -> None:
        pass

    def lost(self, error: BaseException) -> bool:
        gone = self._ray.exceptions
        return isinstance(error, (gone.WorkerCrashedError, gone.NodeDiedError, gone.ObjectLostError))

    def close(self) -> None:
        if not self._ray.is_initialized():
            return
        for ref in self._refs:
            self._ray.cancel(ref, force=True)  # one that is finished stays so
        if self._mine:
            self._ray.shutdown()


def _train(
    runs: Sequence[Run],
    activation: Activation,
    task: Task,
    protocol: Settings,
    own: Any = None,
    told: tuple[str, int] | None = None,
) -> Outcomes:
    """In a process of its own."""
    torch.set_num_threads(1)
    if own is not None:
        user.know(protocol.network, own)

    def on_epoch(epoch: int) -> None:
        if told is not None:
            with Path(told[0]).open("ab", buffering=0) as file:
                file.write(told[1].to_bytes(4, "little"))

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # shared, and only read
        return train(runs, activation, task, protocol, on_epoch)
