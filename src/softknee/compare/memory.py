"""How much memory a piece of work takes at once, as torch's CPU allocator counts it."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from torch import Tensor
from torch.autograd import profiler
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

Result = TypeVar("Result")

_one = threading.Lock()  # torch has one profiler


def peak(work: Callable[[], Result]) -> tuple[Result, int]:
    """What the work returns, and the most bytes of tensors that it had made and not yet given back at any moment;
    0 where the caller is profiling: torch cannot do both."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it says on standard error that it starts
    with _one:
        if profiler._is_profiler_enabled:
            return work(), 0
        collecting = gc.isenabled()
        gc.disable()  # what it gives back was made before, and the allocator would say so on standard error
        try:
            with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
                result = work()
        finally:
            if collecting:
                gc.enable()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return result, most


@contextlib.contextmanager
def kept() -> Iterator[dict[int, int]]:
    """Finds the storages which autograd keeps for backward: their sizes in bytes, by address."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes
