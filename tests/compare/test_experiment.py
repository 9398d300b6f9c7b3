"""The whole way: runs, a folder that continues, interruptions, bad input; what is drawn of it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

import softknee.compare
from softknee.compare import backends, engine
from softknee.compare.errors import CompareError, DataError, SpecificationError
from softknee.compare.experiment import compare
from softknee.compare.records import Comparison
from softknee.compare.schedule import Progress

SMALL = {
    "data": "iris",
    "activations": "relu,tanh,sigmoid",
    "depth": (1, 8),
    "seeds": 6,
    "width": 12,
    "epochs": 10,
    "lr": 0.003,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare(**SMALL, out=tmp_path_factory.mktemp("small"))


def scores(comparison: Comparison) -> dict[tuple[int, str], tuple[float, ...]]:
    return {(level.depth, s.label): s.scores for level in comparison.levels for s in level.standings}


def test_what_a_comparison_holds(small: Comparison) -> None:
    assert small.trained == 36
    assert small.found == 0
    assert small.labels == ("relu", "tanh", "sigmoid")
    assert [level.depth for level in small.levels] == [1, 8]
    assert small.smallest_p == 2 / 2**6
    assert small.data[0].split == (90, 22, 38)
    assert small.answer.startswith("On iris over 6 seeds, ")
    deep = small.levels[1].standings
    assert deep[-1].label == "sigmoid"
    assert not deep[-1].tied
    assert all(len(s.dead) == 8 for s in deep)
    assert (
        "--data iris --activations relu,tanh,sigmoid --seeds 6 --lr 0.003 --network mlp --depth 1,8"
        in small.command
    )


def test_the_call_it_prints_gives_the_same_numbers(small: Comparison) -> None:
    assert small.folder is not None
    again = eval(small.call, {"softknee": softknee})
    assert scores(again) == scores(small)
    assert again.found == 36
    assert again.trained == 0


def test_without_a_folder_the_numbers_are_the_same(small: Comparison) -> None:
    one = compare(**(SMALL | {"depth": 1}))
    assert one.folder is None
    assert scores(one) == {k: v for k, v in scores(small).items() if k[0] == 1}


def test_more_seeds_and_activations_use_what_is_there(tmp_path: Path) -> None:
    first = SMALL | {"depth": 1, "activations": "relu", "seeds": 4}
    compare(**first, out=tmp_path)
    seen: list[Progress] = []
    more = compare(**(first | {"activations": "tanh,relu", "seeds": 6}), out=tmp_path, progress=seen.append)
    assert (more.found, more.trained) == (4, 8)
    assert any("4 of them finished before" in event.note for event in seen)
    assert seen[-1].done == pytest.approx(seen[-1].total)
    assert all(a.done <= b.done for a, b in itertools.pairwise(seen))


def test_what_the_seeds_can_show_is_said_before_the_first_run() -> None:
    seen: list[Progress] = []
    compare(**(SMALL | {"depth": 1, "seeds": 4, "epochs": 1}), progress=seen.append)
    notes = [event.note for event in seen if event.done == 0]
    assert any("smallest p attainable is 0.12" in note and "6 seeds can" in note for note in notes)


def test_several_learning_rates_are_chosen_by_validation(tmp_path: Path) -> None:
    found = compare(**(SMALL | {"depth": 1, "lr": (1e-5, 1e-2)}), out=tmp_path)
    assert found.trained == 36
    for standing in found.levels[0].standings:
        assert set(standing.rates) <= {1e-5, 1e-2}
        assert standing.rates.count(1e-2) >= 4
    assert "--lr 1e-05,0.01" in found.command


def test_optuna_gives_every_activation_the_same_number_of_rates(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    settings = SMALL | {"lr": (1e-4, 0.1), "search": "optuna", "trials": 3, "epochs": 3}
    seen: list[Progress] = []
    found = compare(**settings, out=tmp_path, progress=seen.append)
    assert found.trained == 3 * 36
    assert seen[-1].done == pytest.approx(seen[-1].total)
    rates = {(v.depth, s.label): [rate for rate, _ in s.by_rate] for v in found.levels for s in v.standings}
    assert all(len(r) == 3 and 1e-4 <= min(r) <= max(r) <= 0.1 for r in rates.values())
    assert all(0.00316 in r for r in rates.values())  # the first is the same for all: the middle
    assert len({tuple(r) for r in rates.values()}) > 1
    again = eval(found.call, {"softknee": softknee})
    assert again.found == 3 * 36
    assert scores(again) == scores(found)


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    seen = set()

    def stop(event: Progress) -> None:
        seen.add(event.text)
        if len(seen - {""}) == 3:  # the third activation
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"12 of 18 runs are kept in .*; the same call continues"):
        compare(**(SMALL | {"depth": 1}), out=tmp_path, progress=stop)
    again = compare(**(SMALL | {"depth": 1}), out=tmp_path)
    assert (again.found, again.trained) == (12, 6)


def test_jobs_change_nothing_but_the_time(small: Comparison) -> None:
    threads = torch.get_num_threads()
    found = compare(**SMALL, jobs=3)
    assert scores(found) == scores(small)
    assert torch.get_num_threads() == threads


def test_ctrl_c_in_the_middle_of_several_jobs_keeps_whole_batches(tmp_path: Path) -> None:
    def stop(event: Progress) -> None:
        if event.done > event.total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="the same call continues") as caught:
        compare(**SMALL, out=tmp_path, progress=stop, jobs=3)
    kept = int(str(caught.value).split()[1])
    assert kept % 6 == 0
    again = compare(**SMALL, out=tmp_path, jobs=2)
    assert (again.found, again.trained) == (kept, 36 - kept)


def test_an_error_in_a_run_is_raised_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()

    def fail(training, watch):
        seen.add(training.activation.label)
        if len(seen) == 3:
            raise MemoryError("no memory left")
        return engine.train(training, watch)

    monkeypatch.setattr(backends, "train", fail)
    with pytest.raises(MemoryError, match="no memory left"):
        compare(**(SMALL | {"depth": 1}), out=tmp_path)
    monkeypatch.undo()
    assert compare(**(SMALL | {"depth": 1}), out=tmp_path).found == 12


def test_the_command_line_says_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from softknee.cli import app

    call = [
        "compare",
        "--data",
        "iris",
        "--activations",
        "relu",
        "--seeds",
        "1",
        "--depth",
        "1",
        "--epochs",
        "1",
        "--lr",
        "0.01",
        "--out",
    ]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Comparison, "save", full)
        result = CliRunner().invoke(app, [*call, str(tmp_path)])
    assert result.exit_code == 2
    assert "the report cannot be written to" in result.stderr
    assert "No space left on device" in result.stderr

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt("stopped: 3 of 4 runs are kept there; the same call continues")

    monkeypatch.setattr("softknee.show.comparison.compare", stopped)
    result = CliRunner().invoke(app, [*call, str(tmp_path)])
    assert result.exit_code == 130
    assert "3 of 4 runs are kept there" in result.stderr


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": "irs"}, DataError, "nearest: iris"),
        ({"data": "nowhere.csv"}, DataError, "no such file"),
        ({"activations": "rellu"}, SpecificationError, "relu"),
        ({"activations": "relu("}, SpecificationError, "position 6"),
        ({"activations": "relu(slope=2)"}, SpecificationError, "relu has no parameter 'slope'; it has none"),
        ({"activations": "elu(beta=2)"}, SpecificationError, "its parameters: alpha"),
        ({"noise": -1}, CompareError, "noise: numbers from 0 are needed"),
        ({"noise": "1..0"}, CompareError, "1..0 is no range"),
        ({"batch_norm": 3}, CompareError, "batch_norm: 3 is not on or off"),
        ({"dropout": 1.0}, CompareError, "to below 1 are needed"),
        ({"layers": "second"}, CompareError, "it is all, first, last"),
        ({"layers": "9"}, CompareError, "the network has the hidden layers 1 to"),
        ({"network": "cnm"}, CompareError, "nearest: cnn"),
        ({"network": "cnn"}, CompareError, "cnn reads images or signals, and iris has none"),
        ({"network": "gru"}, CompareError, "gru reads sequences, and iris is a table"),
        ({"samples": 1000}, CompareError, "iris has 90 training samples"),
        ({"kind": "regression"}, DataError, "iris is a classification task"),
        ({"activations": "softmax(dim=-1)"}, SpecificationError, "softmax"),
        ({"activations": "elu(alpha=much)"}, CompareError, "elu"),
        ({"activations": "softplus(beta=0)"}, CompareError, "softplus"),
        ({"activations": "leaky_relu,gelu,lrelu"}, CompareError, "leaky_relu is named 2 times"),
        ({"activations": "relu,relu()"}, CompareError, "relu is named 2 times"),
        ({"seeds": 0}, CompareError, "seeds: whole numbers"),
        ({"seeds": [1, 1]}, CompareError, "given twice"),
        ({"depth": 0}, CompareError, "depth: whole numbers from 1"),
        ({"depth": (2, 2.5)}, CompareError, "depth"),
        ({"width": 0}, CompareError, "width"),
        ({"epochs": -1}, CompareError, "epochs"),
        ({"batch_size": 0}, CompareError, "batch_size"),
        ({"lr": -1.0}, CompareError, "lr: different positive numbers"),
        ({"lr": (0.1, 0.1)}, CompareError, "lr"),
        ({"init": "theirs"}, CompareError, "'own' or 'same'"),
    ],
)
def test_bad_input_is_refused_before_any_work(change: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        compare(**(SMALL | change))


def test_the_package_is_the_function() -> None:
    found = softknee.compare(**(SMALL | {"depth": 1, "seeds": 2, "epochs": 1}))
    assert isinstance(found, softknee.compare.Comparison)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        softknee.compare.nothing
