"""Data sets by name and from files, and what is said of a file that is not what it claims."""

from __future__ import annotations

import gzip
import struct
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
    if name in ("memory", "multilabel"):  # made here
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
        (lambda t: t.replace("a,b", ",b"), "column 1 has no name; leave it out if it numbers the rows"),
        (lambda t: t.replace(",", "|"), "one column only"),
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


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_file_with_other_separators_and_truth_values(tmp_path: Path, separator: str) -> None:
    changed = CSV.replace(",", separator).replace(f"\n3{separator}", f"\nTrue{separator}")
    task = load(csv_file(tmp_path, changed))
    assert task.inputs.shape == (30, 2)
    assert task.inputs[3, 0] == 1


def table(folder: Path, **columns: object) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), folder / "mine.parquet")
    return folder / "mine.parquet"


def test_a_parquet_file(tmp_path: Path) -> None:
    half = [i % 2 == 0 for i in range(20)]
    task = load(table(tmp_path, a=list(range(20)), label=["x", "y"] * 10, flag=half))
    assert task.inputs.tolist() == [[i, half[i]] for i in range(20)]
    assert task.class_names == ("x", "y")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1, None] * 9, "y": [0, 1] * 9}, "missing values in a;"),
        ({"a": ["one", "two"] * 9, "y": [0, 1] * 9}, "text in a;"),
        ({"a": [1, 2] * 9, "y": [0] * 18}, "one class only"),
    ],
)
def test_a_parquet_file_that_is_not_what_it_claims(tmp_path: Path, columns: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(table(tmp_path, **columns))


def idx(path: Path, values: np.ndarray) -> None:
    head = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    with gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb") as file:
        file.write(head + values.astype(np.uint8).tobytes())


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_and_a_folder_of_them(tmp_path: Path, ending: str) -> None:
    images = np.arange(60 * 12).reshape(60, 4, 3) % 251
    for part, rows in (("train", slice(0, 40)), ("t10k", slice(40, 60))):
        idx(tmp_path / f"{part}-images-idx3-ubyte{ending}", images[rows])
        idx(tmp_path / f"{part}-labels-idx1-ubyte{ending}", (np.arange(60) % 3)[rows])
    whole, part = load(tmp_path), load(tmp_path / f"train-images-idx3-ubyte{ending}")
    assert (whole.inputs.shape, whole.shape, whole.classes) == ((60, 12), (1, 4, 3), 3)
    assert np.array_equal(part.inputs, images[:40].reshape(40, 12))
    with pytest.raises(DataError, match="give the images"):
        load(tmp_path / f"train-labels-idx1-ubyte{ending}")
    idx(tmp_path / f"t10k-labels-idx1-ubyte{ending}", np.zeros(3))
    with pytest.raises(DataError, match="do not fit"):
        load(tmp_path)
    (tmp_path / f"t10k-labels-idx1-ubyte{ending}").write_bytes(b"\0\0")
    with pytest.raises(DataError, match="cannot be read as an idx file"):
        load(tmp_path)
    (tmp_path / f"t10k-labels-idx1-ubyte{ending}").unlink()
    with pytest.raises(DataError, match="are not beside it"):
        load(tmp_path)


SOURCE = """
import torch
from torch.utils.data import DataLoader, TensorDataset
x, y = torch.randn(60, 5), torch.arange(60) % 3
def tensors(): return x.bfloat16(), y
def arrays(): return x.numpy(), y.numpy()
def lists(): return x.tolist(), y.tolist()
def one_hot(): return x, torch.nn.functional.one_hot(y)
def dataset(): return TensorDataset(x, y)
def loader(): return DataLoader(TensorDataset(x, y), batch_size=7)
def images(): return torch.randn(60, 3, 8, 8), y
def fractions(): return x, x.sum(1)
def labels(): return x, (x[:, :3] > 0).int()
def three(): return x, y, y
def nothing(): return None
def ragged(): return [[1.0], [1.0, 2.0]] * 30, y
def fails(): raise RuntimeError("disk gone")
def empty(): return DataLoader([])
"""


@pytest.mark.parametrize(
    ("name", "kind", "shape"),
    [
        *(
            (name, "classification", ())
            for name in ("tensors", "arrays", "lists", "one_hot", "dataset", "loader")
        ),
        ("images", "classification", (3, 8, 8)),
        ("fractions", "regression", ()),
        ("labels", "multilabel", ()),
    ],
)
def test_what_a_function_returns(tmp_path: Path, name: str, kind: str, shape: tuple[int, ...]) -> None:
    (tmp_path / "mine.py").write_text(SOURCE)
    task = load(f"{tmp_path / 'mine.py'}:{name}")
    assert (task.kind, task.shape, len(task.inputs)) == (kind, shape, 60)
    if kind == "classification":
        assert np.array_equal(task.targets, np.arange(60) % 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("three", "gives 3 things"),
        ("nothing", "returned NoneType"),
        ("ragged", "not a table of numbers"),
        ("fails", "failed: RuntimeError: disk gone"),
        ("empty", "there must be one"),
        ("missing", "no attribute 'missing'"),
    ],
)
def test_a_function_that_returns_something_else(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(SOURCE)
    with pytest.raises(DataError, match=message):
        load(f"{tmp_path / 'mine.py'}:{name}")
