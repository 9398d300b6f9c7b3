"""Where batches are trained: in threads of this process, in processes of this machine, on a cluster.

A batch is trained by one thread that computes on one core: for networks this small that is faster than sharing each
operation among cores, and it does not suffer when other programs keep the cores busy. A backend takes trainings and
gives futures; the store and everything else stay with the caller, in one thread.
"""

from __future__ import annotations

import pickle
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch

from softknee.compare import memory, user
from softknee.compare.engine import Outcome, Training, train
from softknee.compare.errors import CompareError
from softknee.compare.protocol import Run
from softknee.compare.tasks import Task

Outcomes = dict[Run, Outcome]
Name = Literal["threads", "joblib", "ray"]
#: gets the share of a training that is done, many times, and now and then its state; true: the training is to stop
Listener = Callable[[float, bytes | None], bool | None]

NAMES = get_args(Name)

_SAY, _KEEP = 0.1, 5.0  # seconds between two shares; between two states, at least
_COST = 0.05  # of the time goes into making states, at most
_GRACE = 2.0  # seconds that a process has for its current step when it is to stop


class Backend(Protocol):
    """`slots` batches are trained at a time. A future whose `lost(error)` is true may be started again."""

    slots: int

    def start(self, training: Training, listener: Listener) -> Future[Outcomes]: ...

    def poll(self) -> None:
        """Tells the listeners what has come in, where it does not come by itself."""

    def lost(self, error: BaseException) -> bool:
        """Whether the worker died, rather than the training failed."""

    def halt(self) -> None:
        """Ends what is being trained, and tells the listeners how far it came; more may be started after it."""

    def close(self) -> None:
        """Ends what is still being trained, after its current step or at once."""


def backend(name: str, jobs: int, address: str | None = None) -> Backend:
    """`jobs`: batches at a time; of "ray" the cluster's processors count."""
    if name not in NAMES:
        raise CompareError(f"backend={name!r}; it is {', '.join(NAMES[:-1])} or {NAMES[-1]}")
    if address is not None and name != "ray":
        raise CompareError(f"address={address!r} is for the backend ray, not for {name}")
    return Ray(address) if name == "ray" else Processes(jobs) if name == "joblib" else Threads(jobs)


class _Telling:
    """Watches a training and tells a listener, but not after every step."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._say, self._keep = 0.0, time.monotonic() + _KEEP  # when, at the earliest

    def __call__(self, share: float, state: Callable[[], bytes] | None) -> None:
        now, stop = time.monotonic(), None
        if state is not None and now >= self._keep:
            stop = self._listener(share, state())
            after = time.monotonic()
            self._keep = after + max(_KEEP, (after - now) / _COST)
        elif now >= self._say:
            stop = self._listener(share, None)
            self._say = now + _SAY
        if stop:
            if state is not None:
                self._listener(share, state())
            raise _Stopped


class _Stopped(Exception):  # noqa: N818
    """Ends a training after its current step."""


class Threads:
    """Starts at once; past a few cores the threads wait for each other's Python."""

    def __init__(self, jobs: int) -> None:
        self.slots = jobs
        self._stop = threading.Event()
        self._before = torch.get_num_threads()
        memory.peak(
            lambda: None
        )  # the profiler complains if it is started for the first time in another thread
        # the number of threads is a thread's own, but its default for new ones is not: it is put back in `close`
        self._pool = ThreadPoolExecutor(jobs, "compare", torch.set_num_threads, (1,))
        self._futures: set[Future[Outcomes]] = set()

    def start(self, training: Training, listener: Listener) -> Future[Outcomes]:
        telling = _Telling(listener)

        def watch(share: float, state: Callable[[], bytes] | None) -> None:
            if self._stop.is_set():
                if state is not None:
                    listener(share, state())
                raise _Stopped
            telling(share, state)

        future = self._pool.submit(train, training, watch)
        self._futures = {future, *(f for f in self._futures if not f.done())}
        return future

    def poll(self) -> None:
        pass

    def lost(self, error: BaseException) -> bool:
        return False

    def halt(self) -> None:
        self._stop.set()
        wait(self._futures)
        self._stop.clear()

    def close(self) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._before)


class Processes:
    """joblib's processes. What they say are files in a folder, which is emptied as they are read."""

    def __init__(self, jobs: int) -> None:
        try:
            from joblib.externals.loky import get_reusable_executor
        except ImportError:
            raise CompareError("backend='joblib' needs joblib: pip install 'softknee[compare]'") from None
        self.slots, self._executor = jobs, get_reusable_executor
        self._folder = tempfile.TemporaryDirectory(prefix="softknee-")
        self._listeners: list[Listener] = []
        self._futures: set[Future[Outcomes]] = set()

    @staticmethod
    def take(networks: Iterable[Any]) -> bool:
        """Whether such networks can be sent to a process, and processes are to be had."""
        try:
            from joblib.externals import cloudpickle

            cloudpickle.dumps(list(networks))
        except (ImportError, AttributeError, TypeError, ValueError, RuntimeError, pickle.PicklingError):
            return False
        return True

    def start(self, training: Training, listener: Listener) -> Future[Outcomes]:
        self._listeners.append(listener)
        spool = _Spool(self._folder.name, len(self._listeners) - 1)
        own = user.known(training.protocol.network)
        executor = self._executor(max_workers=self.slots, timeout=60)
        future: Future[Outcomes] = executor.submit(_train, training, training.task, own, spool)
        self._futures = {future, *(f for f in self._futures if not f.done())}
        return future

    def poll(self) -> None:
        for file in sorted(Path(self._folder.name).glob("[0-9]*")):
            share, _, state = file.read_bytes().partition(b"\n")
            file.unlink()
            self._listeners[int(file.name.partition("-")[0])](float(share), state or None)

    def lost(self, error: BaseException) -> bool:
        from concurrent.futures import BrokenExecutor

        return isinstance(error, BrokenExecutor)

    def halt(self) -> None:
        stop = Path(self._folder.name, _STOP)
        stop.touch()
        if wait(self._futures, timeout=_GRACE).not_done:
            self._kill()
            wait(self._futures, timeout=_GRACE)
        self.poll()
        stop.unlink()

    def close(self) -> None:
        if Path(self._folder.name).exists():  # not closed before
            self._kill()
            self.poll()
            self._folder.cleanup()

    def _kill(self) -> None:
        self._executor(max_workers=self.slots, timeout=60).shutdown(wait=True, kill_workers=True)


_STOP = "stop"  # the file that ends all trainings


@dataclass
class _Spool:
    """Listens to the training of this number, and says it with files in a folder: a share and perhaps a state. Others
    stop it with a file in the same folder."""

    folder: str
    number: int
    said: int = 0

    def __call__(self, share: float, state: bytes | None) -> bool:
        self.said += 1
        name = f"{self.number}-{self.said:09d}"
        hidden = Path(self.folder, f".{name}")
        hidden.write_bytes(f"{share!r}\n".encode() + (state or b""))
        hidden.rename(Path(self.folder, name))  # seen when it is whole
        return Path(self.folder, _STOP).exists()


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
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=True
        )
        self._box = ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(_Box).remote()
        self._tasks: dict[str, Any] = {}
        self._refs: list[Any] = []
        self._listeners: list[Listener] = []

    def start(self, training: Training, listener: Listener) -> Future[Outcomes]:
        task = training.task
        if task.digest not in self._tasks:
            self._tasks[task.digest] = self._ray.put(task)
        own = user.known(training.protocol.network)
        self._listeners.append(listener)
        letters = _Letters(self._box, len(self._listeners) - 1)
        without: Any = replace(training, task=None)  # type: ignore[arg-type]
        ref = self._train.remote(without, self._tasks[task.digest], own, letters)
        self._refs.append(ref)
        return ref.future()

    def poll(self) -> None:
        try:
            found = self._ray.get(self._box.take.remote(), timeout=10)
        except self._ray.exceptions.RayError:
            return  # it is begun anew elsewhere
        for number, share, state in found:
            self._listeners[number](share, state)

    def lost(self, error: BaseException) -> bool:
        gone = self._ray.exceptions
        return isinstance(error, (gone.WorkerCrashedError, gone.NodeDiedError, gone.ObjectLostError))

    def halt(self) -> None:
        self.poll()
        for ref in self._refs:
            self._ray.cancel(ref, force=True)  # one that is finished stays so
        if self._refs:
            self._ray.wait(self._refs, num_returns=len(self._refs), timeout=_GRACE)
        self._refs.clear()

    def close(self) -> None:
        if not self._ray.is_initialized():
            return
        self.halt()
        self._ray.kill(self._box)
        if self._mine:
            self._ray.shutdown()


class _Box:
    """Where the machines of a cluster leave their letters."""

    def __init__(self) -> None:
        self._letters: list[tuple[int, float, bytes | None]] = []

    def put(self, *letter: Any) -> None:
        self._letters.append(letter)  # type: ignore[arg-type]

    def take(self) -> list[tuple[int, float, bytes | None]]:
        found, self._letters = self._letters, []
        return found


@dataclass
class _Letters:
    """Listens to the training of this number, and leaves what it hears in a box."""

    box: Any
    number: int

    def __call__(self, share: float, state: bytes | None) -> None:
        self.box.put.remote(self.number, share, state)


def _train(training: Training, task: Task, own: Any, listener: Listener) -> Outcomes:
    """In a process of its own."""
    torch.set_num_threads(1)
    if own is not None:
        user.know(training.protocol.network, own)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # shared, and only read
        return train(replace(training, task=task), _Telling(listener))
