"""Processes and clusters: the same numbers as here, and what happens when a worker dies."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import signal
import sqlite3
from collections.abc import Callable, Collection
from concurrent.futures import BrokenExecutor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import softknee
from softknee.compare import backends
from softknee.compare.activations import activation
from softknee.compare.backends import Threads
from softknee.compare.data import load
from softknee.compare.engine import Training, train
from softknee.compare.errors import CompareError
from softknee.compare.experiment import Experiment, compare
from softknee.compare.protocol import Protocol, Run
from softknee.compare.schedule import Progress, Schedule, _Flight
from softknee.compare.specification import parse
from softknee.compare.store import FILE, Store

# A network of one's own, which writes down every run that begins. `mortal`: the ninth kills its process, and in a
# cluster the one above, which is its machine.
NETWORK = """
import os, pathlib, time, torch
from torch import nn

here = pathlib.Path(__file__).parent

def build(activation):
    place = activation()
    with (here / "begun").open("a") as file:
        file.write(f"{place.extra_repr()} {torch.initial_seed()}\\n")
    if (here / "mortal").exists() and len((here / "begun").read_text().splitlines()) == 9:
        for process in [os.getppid()] * ((here / "mortal").read_text() == "machine") + [os.getpid()]:
            os.kill(process, 9)
    time.sleep(0.1)
    return nn.Sequential(nn.Linear(4, 8), place, nn.Linear(8, 3))
"""
RUNS = {"data": "iris", "activations": "relu,tanh,prelu", "seeds": 6, "epochs": 2, "lr": 0.01}


def finished(folder: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(folder / FILE)) as file:
        runs = [json.loads(text) for (text,) in file.execute("SELECT run FROM runs")]
    return {f"{run['activation']} {run['seed']}" for run in runs}


def begun(folder: Path) -> list[str]:
    return (folder / "begun").read_text().splitlines()


def check(folder: Path, mortal: str, **settings: Any) -> None:
    """A worker dies in the middle: every run is there, with the numbers of this process, and none that was finished
    is begun again."""
    (folder / "network.py").write_text(NETWORK)
    (folder / "mortal").write_text(mortal)
    deaths: list[tuple[int, set[str]]] = []

    def listen(event: Progress) -> None:
        if event.done and "died" in event.note:
            deaths.append((len(begun(folder)), finished(folder)))

    network = f"{folder / 'network.py'}:build"
    found = compare(**RUNS, network=network, out=folder, progress=listen, **settings)
    assert deaths
    assert found.trained == 18
    assert len(finished(folder)) == 18
    for before, there in deaths:
        assert 0 < len(there) < 18
        assert not there & set(begun(folder)[before:])
    assert len(begun(folder)) <= 18 + 2 * len(deaths)  # what was in flight
    (folder / "mortal").unlink()
    here = compare(**RUNS, network=network)
    assert [(s.label, s.scores) for s in found.levels[0].standings] == [
        (s.label, s.scores) for s in here.levels[0].standings
    ]


@pytest.mark.exhaustive
def test_a_process_dies_and_nothing_finished_is_lost_or_run_again(tmp_path: Path) -> None:
    check(tmp_path, "process", backend="joblib", jobs=2)


@pytest.mark.exhaustive
def test_a_machine_of_a_cluster_dies_and_nothing_finished_is_lost_or_run_again(tmp_path: Path) -> None:
    """Half a minute; Ray itself starts slowly."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        check(tmp_path, "machine", backend="ray", address=cluster.address)
    finally:
        cluster.shutdown()


@pytest.mark.parametrize("backend", ["threads", pytest.param("joblib", marks=pytest.mark.exhaustive)])
def test_what_is_halted_is_kept_as_far_as_it_came(tmp_path: Path, backend: str) -> None:
    """It would train for hours, and is over with the first word of it."""
    call = inspect.signature(compare).bind("iris", epochs=10**7, depth=1, backend=backend, out=tmp_path)
    call.apply_defaults()
    settings = {k: v for k, v in call.arguments.items() if k not in ("activations", "seeds", "progress")}
    done: list[float] = []
    experiment, seeds = Experiment(**settings), (0, 1)
    with experiment.open(lambda event: done.append(event.done)) as schedule:
        batches = experiment.batches([activation(parse("relu")[0])], seeds, 1)
        schedule.run(batches, over=lambda: any(done))
        assert (schedule.trained, schedule.outcomes[experiment.cells[0]]) == (0, {})
        assert schedule.store.state(batches[0].runs) is not None
        done.clear()
        schedule.run(batches, over=lambda: any(done))  # and again, from there


def test_a_process_stops_between_two_steps_and_says_how_far_it_came(tmp_path: Path) -> None:
    (tmp_path / backends._STOP).touch()
    runs = [Run("relu", 0.01, 0)]
    training = Training(runs, activation(parse("relu")[0]), load("iris"), Protocol(epochs=3))
    with pytest.raises(backends._Stopped):
        train(training, backends._Telling(backends._Spool(str(tmp_path), 0)))
    *_, last = sorted(tmp_path.glob("0-*"))
    share, _, state = last.read_bytes().partition(b"\n")
    assert 0 < float(share) < 0.5
    assert train(replace(training, state=state)).keys() == set(runs)


# Three batches that take longer than it takes until their first state is sent.
LONG = {"data": "digits", "activations": "relu,tanh,elu", "depth": 4, "seeds": 10, "epochs": 60, "lr": 0.003}


def check_going_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kill: Callable[[], object], **settings: Any
) -> None:
    """The workers die when a batch is finished and another is half done: the first stays, the other goes on from its
    last state, and the numbers are those of this process."""
    launched: list[_Flight] = []
    there: set[str] = set()  # what was finished when they died
    half: set[str] = set()  # the keys of what was half done

    def launch(schedule: Schedule, flight: _Flight) -> None:
        launched.append(flight)
        usual_launch(schedule, flight)

    def keep(store: Store, keys: Collection[str], state: bytes) -> None:
        usual_keep(store, keys, state)
        if not there and (done := finished(folder)):
            there.update(done)
            half.update(keys)
            kill()

    usual_launch, usual_keep = Schedule._launch, Store.keep
    with monkeypatch.context() as here:
        here.setattr(Schedule, "_launch", launch)
        here.setattr(Store, "keep", keep)
        found = compare(**LONG, out=folder, **settings)
    again = [flight for flight in launched if flight.attempts > 1]
    assert 10 <= len(there) < found.trained == len(finished(folder)) == 30
    assert not there & {f"{run.activation} {run.seed}" for flight in again for run in flight.runs.values()}
    assert len(launched) == 3 + len(again)
    assert [flight.state is not None for flight in again if flight.runs.keys() == half] == [True]
    usual = compare(**LONG)
    assert [(s.label, s.scores, s.train_loss) for s in found.levels[0].standings] == [
        (s.label, s.scores, s.train_loss) for s in usual.levels[0].standings
    ]


@pytest.mark.exhaustive
def test_a_batch_goes_on_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loky = pytest.importorskip("joblib.externals.loky.reusable_executor")

    def kill() -> None:
        for process in list(loky._executor._processes):
            os.kill(process, signal.SIGKILL)

    check_going_on(tmp_path, monkeypatch, kill, backend="joblib", jobs=2)


@pytest.mark.exhaustive
def test_a_batch_goes_on_on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        first = [cluster.add_node(num_cpus=1) for _ in range(2)]

        def kill() -> None:
            cluster.add_node(num_cpus=2)
            for machine in first:
                cluster.remove_node(machine, allow_graceful=False)

        check_going_on(tmp_path, monkeypatch, kill, backend="ray", address=cluster.address)
    finally:
        cluster.shutdown()


class Dying(Threads):
    """Its workers die now and then: before the work, or after it and before it was told."""

    def __init__(self, deaths: list[str]) -> None:
        super().__init__(2)
        self.deaths = deaths

    def start(self, *work: Any) -> Future[Any]:
        if not self.deaths:
            return super().start(*work)
        if self.deaths.pop() == "late":
            super().start(*work).result()
        failed: Future[Any] = Future()
        failed.set_exception(BrokenExecutor("gone"))
        return failed

    def lost(self, error: BaseException) -> bool:
        return isinstance(error, BrokenExecutor)


def test_a_batch_whose_worker_dies_is_trained_again_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Progress] = []
    usual = compare(**RUNS, depth=1)
    for deaths, enough in ((["late", "early", "late"], True), (["early"] * 9, False)):
        monkeypatch.setattr(backends, "backend", lambda *_, deaths=deaths: Dying(deaths))
        if enough:
            found = compare(**RUNS, depth=1, progress=seen.append)
            assert [s.scores for s in found.levels[0].standings] == [
                s.scores for s in usual.levels[0].standings
            ]
            assert sum("a worker died" in event.note for event in seen) == 3
            assert seen[-1].done == pytest.approx(seen[-1].total)
        else:
            with pytest.raises(CompareError, match="died 3 times, perhaps for want of memory"):
                compare(**RUNS, depth=1)


def test_what_goes_to_another_process_is_made_again_there() -> None:
    import pickle

    from softknee import catalogue
    from softknee.compare.activations import activation
    from softknee.compare.specification import parse

    for text in ("prelu", "leaky_relu(negative_slope=0.3)", "gelu(approximate=tanh)"):
        one = activation(parse(text)[0])
        other = pickle.loads(pickle.dumps(one))
        assert (other.label, other.fingerprint, other.learnable) == (
            one.label,
            one.fingerprint,
            one.learnable,
        )
    softknee.define("sent", lambda x, alpha: x / (1 + alpha * abs(x)), alpha=2.0)
    first = catalogue.get("sent")
    try:
        one = activation(parse("sent")[0])
        other = pickle.loads(pickle.dumps(one))
        assert (other.fingerprint, other.learnable) == (one.fingerprint, one.learnable)
        assert catalogue.get("sent") is not first  # its definition came along
    finally:
        definition = catalogue.get("sent")
        (
            catalogue._by_name.pop("sent"),
            catalogue._by_key.pop("sent"),
            catalogue._by_module.pop(definition.module),
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backend": "threds"}, "it is threads, joblib or ray"),
        ({"address": "auto"}, "for the backend ray, not for threads"),
        ({"store": "mine.sqlite"}, "a URL such as postgresql://"),
        ({"search": "random"}, "it is grid or optuna"),
        ({"search": "optuna"}, "needs two learning rates"),
        ({"trials": 7}, "a grid tries the 1 learning rates"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    with pytest.raises(CompareError, match=message):
        compare(**(RUNS | change))
