"""Data sets by name and from files, and what is said of a file that is not what it claims."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from softknee.compare.data import SOURCES, load
from softknee.compare.errors import DataError
from softknee.compare.tasks import Task

CSV = "a,b,label\n" + "".join(f"{i},{i * i / 7},{'yes' if i % 3 else 'no'}\n" for i in range(30))


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_named_sets(name: str) -> None:
    if SOURCES[name].missing:
        with pytest.raises(DataError, match=r"is not on this machine: (pip|apt) install"):
            load(name)
        return
    task = load(name)
    assert np.isfinite(task.inputs).all()
    assert len(task.inputs) == len(task.targets)
    assert 0 <= task.majority < 1
    assert not task.shape or np.prod(task.shape) == task.inputs.shape[1]
    if task.kind in ("classification", "next_token"):
        assert set(np.unique(task.targets)) == set(range(task.classes))
    assert load(name).digest == task.digest


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(DataError, match=r"no data set called 'digit'; nearest: digits"):
        load("digit")


def test_a_csv_file(tmp_path: Path) -> None:
    task = load(csv_file(tmp_path, CSV))
    assert task.name == "mine.csv"
    assert task.inputs.shape == (30, 2)
    assert task.class_names == ("no", "yes")
    assert task.targets[:4].tolist() == [0, 1, 1, 0]


def test_the_label_column_is_found_by_name_or_is_the_last(tmp_path: Path) -> None:
    rows = "".join(f"{i % 2},{i}\n" for i in range(20))
    named = load(csv_file(tmp_path, "y,a\n" + rows))
    assert named.inputs[:, 0].tolist() == list(range(20))
    rows = "".join(f"{i},{i % 2}\n" for i in range(20))
    assert load(csv_file(tmp_path, "a,b\n" + rows)).targets.tolist() == [0, 1] * 10


def test_an_npz_file_and_its_digest(tmp_path: Path) -> None:
    x, y = np.arange(60.0).reshape(20, 3), np.arange(20) % 2
    np.savez(tmp_path / "one.npz", x=x, y=y)
    np.savez(tmp_path / "two.npz", data=x, target=y.astype(float))
    np.savez(tmp_path / "other.npz", x=x + 1e-9, y=y)
    one, two, other = (load(tmp_path / f"{name}.npz") for name in ("one", "two", "other"))
    assert one.digest == two.digest != other.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("\n5,", "\n,"), "missing values in a;"),
        (lambda t: t.replace("\n5,", "\nNaN,"), "missing values in a;"),
        (lambda t: t.replace("\n5,", "\nfive,"), "text in a;"),
        (lambda t: t.replace("\n5,", "\ninf,"), "infinite values in column 1 of the inputs;"),
        (lambda t: t.replace("\n5,", "\n5,5,"), "row 7 has 4 columns, the header has 3"),
        (lambda t: t.replace("no", "yes"), r"one class only \(yes\)"),
        (lambda t: "\n".join(t.splitlines()[:4]), "fewer than 5 of no"),
        (lambda t: t.splitlines()[0], "no samples"),
        (lambda t: "", "no samples"),
        (lambda t: t.split("\n", 1)[1].replace("yes", "1").replace("no", "0"), "first line is numbers"),
        (lambda t: t.replace("a,b", "a,a"), "same name"),
        (lambda t: t.replace(",yes\n", ",\n", 1), "missing values in the label column 'label'"),
    ],
)
def test_a_csv_file_that_is_not_what_it_claims(tmp_path: Path, change, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(csv_file(tmp_path, change(CSV)))


def test_fewer_samples_than_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="8 samples in 8 classes"):
        load(csv_file(tmp_path, "a,y\n" + "".join(f"{i},{i}\n" for i in range(8))))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(3)}, "holds a; it needs inputs called one of x"),
        ({"x": np.array([["a"]] * 9), "y": np.arange(9)}, "dtype <U1; they must be numbers"),
        ({"x": np.zeros((9, 2)), "y": np.zeros(8)}, r"shape \(9, 2\) and labels of shape \(8,\) do not fit"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "do not fit"),
        ({"x": np.array(1.0), "y": np.array(1)}, "do not fit"),
        (
            {"x": np.full((9, 2), np.nan), "y": np.arange(9) % 2},
            "missing or infinite values in column 1, column 2 of the inputs",
        ),
        ({"x": np.zeros((9, 2)), "y": np.array([None] * 9)}, "cannot be read as an npz file of plain arrays"),
    ],
)
def test_an_npz_file_that_is_not_what_it_claims(tmp_path: Path, arrays, message: str) -> None:
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "mine.npz")


@pytest.mark.parametrize("name", ["none.npz", "none.csv"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / name)


@pytest.mark.parametrize("name", ["mine.npz", "mine.csv"])
@pytest.mark.parametrize("content", [b"\x00\x01\xff\xfe\x9d", b"PK\x03\x04broken", b""])
def test_a_file_of_rubbish(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="mine"):
        load(tmp_path / name)


def test_a_task_of_ones_own() -> None:
    task = Task("own", np.zeros((4, 1)), np.array([0, 1, 1, 1]), ("a", "b"))
    assert task.majority == 0.75
