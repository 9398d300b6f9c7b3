"""Two processes on one store: no batch is trained twice, and what a killed one leaves is gone on with."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from softknee.compare import backends, engine, store
from softknee.compare.experiment import compare
from softknee.compare.records import Comparison
from softknee.compare.schedule import Progress
from softknee.compare.store import Store

RUNS = {"data": "iris", "activations": "relu,tanh", "depth": (1, 3), "seeds": 6, "width": 8, "epochs": 10}

# Another process, which writes down what it begins. With "stays" as its last argument it begins two batches and stays
# in the middle of the second for ever; a state is kept after every step.
OTHER = """
import sys, threading
from pathlib import Path
from softknee.compare import backends, engine
from softknee.compare.experiment import compare

begun, stays = Path(sys.argv[1], "begun"), "stays" in sys.argv
trainings = []

def train(training, watch):
    with begun.open("a") as file:
        file.write("".join(f"{run} {training.protocol.depth}\\n" for run in training.runs))
    trainings.append(training)
    steps = []

    def stay(*events):
        watch(*events)
        steps.append(events)
        if stays and len(trainings) == 2 and len(steps) == 7:
            Path(sys.argv[1], "middle").touch()
            threading.Event().wait(600)

    return engine.train(training, stay)

backends.train, backends._KEEP = train, 0.0 if stays else 5.0
print(compare(**RUNS, jobs=1).trained)
"""


def start(folder: Path, settings: dict[str, Any], *stays: str) -> subprocess.Popen[str]:
    code = OTHER.replace("RUNS", repr(RUNS | settings))
    command = [sys.executable, "-c", code, str(folder), *stays]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def numbers(found: Comparison) -> list[Any]:
    return [(v.title, s.label, s.scores, s.train_loss, s.rates) for v in found.levels for s in v.standings]


def check_no_batch_is_trained_twice(folder: Path, settings: dict[str, Any]) -> None:
    others = [start(folder, settings) for _ in range(2)]
    trained = [int(other.communicate(timeout=400)[0]) for other in others]
    assert all(other.returncode == 0 for other in others)
    begun = (folder / "begun").read_text().splitlines()
    assert sum(trained) == len(begun) == len(set(begun)) == 72


def check_a_killed_process_is_taken_over(
    folder: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other is killed in the middle of a batch, when this one has nothing else to do."""
    other = start(folder, settings, "stays")
    with ExitStack() as afterwards:
        afterwards.callback(other.kill)  # also where something fails: it would stay for ever
        patience = time.monotonic() + 300
        while not (folder / "middle").exists():
            assert other.poll() is None
            assert time.monotonic() < patience, "the other process does not come to the middle of its batch"
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(0.05)
        check_it_is_taken_over(other, settings, monkeypatch)


def check_it_is_taken_over(
    other: subprocess.Popen[str], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    given: list[engine.Training] = []

    def listen(event: Progress) -> None:
        seen.append(event.text)
        if "another process" in event.text and other.poll() is None:
            other.send_signal(signal.SIGKILL)
            other.communicate()

    def train(training: engine.Training, watch: engine.Watch) -> Any:
        given.append(training)
        return engine.train(training, watch)

    with monkeypatch.context() as here:
        here.setattr(backends, "train", train)
        here.setattr(store, "_LEASE", 1e6)  # that the other is dead is seen, not waited for
        found = compare(**(RUNS | settings), progress=listen)
    assert other.returncode == -signal.SIGKILL
    assert "waiting for 18 runs that another process is training" in seen
    assert (found.found, found.trained) == (18, 54)
    assert [training.state is not None for training in given] == [False] * 2 + [True]
    alone = {name: value for name, value in settings.items() if name not in ("out", "store")}
    assert numbers(found) == numbers(compare(**(RUNS | alone)))
    place = settings.get("store") or settings["out"]
    with Store(place) as kept:
        assert kept._table is not None
        assert [kept._table._execute(f"SELECT count(*) FROM {{{t}}}") for t in ("claims", "states")] == [
            [(0,)]
        ] * 2


def check_claims(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two machines, which do not see each other's processes."""
    with Store(place) as one, Store(place) as two:
        one._owner = one._owner.replace(" ", "elsewhere ", 1)
        assert one.claim(["a", "b"]) == {"a", "b"} == one.claim(["a", "b"])
        assert two.claim(["b", "c"]) == {"c"}
        monkeypatch.setattr(store, "_LEASE", -1.0)
        assert one.claim(["d"]) == {"d"}  # it has ended already,
        monkeypatch.setattr(store, "_LEASE", 60.0)
        one.beat()  # and is renewed
        assert two.claim(["a", "d"]) == set()
        monkeypatch.setattr(store, "_LEASE", -1.0)
        one._beaten = 0.0
        one.beat()
        assert two.claim(["a", "d"]) == {"a", "d"}
    with Store(place) as three:
        assert three.claim(["a", "b", "c", "d"]) == {"a", "b", "c", "d"}  # the others have left


def check_states(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(place) as one, Store(place) as two:
        one.keep(["b", "a"], b"half")
        one.keep(["a", "b"], b"most\0" * 1000)
        assert two.state(["a", "b"]) == b"most\0" * 1000
        assert two.state(["a"]) is None
        monkeypatch.setattr(store, "_FORGET", -1.0)
        two.claim(["x"])
        assert one.state(["a", "b"]) is None


@pytest.mark.exhaustive
def test_no_batch_is_trained_twice(tmp_path: Path) -> None:
    check_no_batch_is_trained_twice(tmp_path, {"out": str(tmp_path)})


def test_a_killed_process_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_a_killed_process_is_taken_over(tmp_path, {"out": str(tmp_path)}, monkeypatch)


def test_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_claims(tmp_path, monkeypatch)


def test_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_states(tmp_path, monkeypatch)
