"""Data sets for comparisons: scikit-learn's own, and a user's npz or csv file."""

from __future__ import annotations

import csv
import functools
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softknee.compare.errors import DataError, nearest

BUILT_IN = ("breast_cancer", "digits", "iris", "wine")
_FEATURES = ("x", "data", "features", "inputs")
_LABELS = ("y", "target", "targets", "label", "labels", "class")


@dataclass(frozen=True, eq=False)
class Task:
    """A classification task: `inputs` (samples, features) float64, `labels` (samples,) in 0..classes-1."""

    name: str
    inputs: NDArray[np.float64]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def majority(self) -> float:
        """The accuracy of always answering the most frequent class: what a network that learnt nothing has."""
        return float(np.bincount(self.labels).max() / len(self.labels))

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over shapes and values: two tasks with one digest are the same data."""
        shape = repr((self.inputs.shape, self.classes)).encode()
        return hashlib.sha256(shape + self.inputs.tobytes() + self.labels.tobytes()).hexdigest()


def load(data: str | Path) -> Task:
    """A data set by name, or from a file ending in `.npz` or `.csv`."""
    path = Path(data)
    if path.suffix.lower() == ".npz":
        return _npz(path)
    if path.suffix.lower() == ".csv":
        return _csv(path)
    if str(data) not in BUILT_IN:
        raise DataError(
            f"no data set called {str(data)!r}; nearest: {', '.join(nearest(str(data), BUILT_IN))}; "
            "or give a file ending in .npz or .csv"
        )
    try:
        import sklearn.datasets
    except ImportError:
        raise DataError(f"{data} comes with scikit-learn: pip install 'softknee[compare]'") from None
    bunch = getattr(sklearn.datasets, f"load_{data}")()
    return _task(str(data), str(data), bunch.data, bunch.target)


def _npz(path: Path) -> Task:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {key.lower(): file[key] for key in file.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(f"{path} cannot be read as an npz file of plain arrays: {error}") from None
    features = next((arrays[key] for key in _FEATURES if key in arrays), None)
    labels = next((arrays[key] for key in _LABELS if key in arrays), None)
    if features is None or labels is None:
        raise DataError(
            f"{path} holds {', '.join(arrays) or 'no arrays'}; it needs inputs called one of "
            f"{', '.join(_FEATURES)} and labels called one of {', '.join(_LABELS)}"
        )
    if features.dtype.kind not in "fiub":
        raise DataError(f"{path}: the inputs have dtype {features.dtype}; they must be numbers")
    if features.ndim > 2 and features.size:  # images become rows
        features = features.reshape(len(features), -1)
    return _task(path.name, str(path), features, labels)


def _csv(path: Path) -> Task:
    """A header, then one sample a row; the labels are the column called y, target, label or class, else the last."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a csv file: {error}") from None
    if len(rows) < 2:
        raise DataError(f"{path} has no samples: it needs a header line and one line a sample")
    header, *body = rows
    for number, row in enumerate(body, 2):
        if len(row) != len(header):
            raise DataError(f"{path}: row {number} has {len(row)} columns, the header has {len(header)}")
    if all(_number(cell) is not None for cell in header):
        raise DataError(f"{path}: the first line is numbers; it must be the columns' names")
    label = next((i for i, name in enumerate(header) if name.strip().lower() in _LABELS), len(header) - 1)
    columns = {name: [row[i] for row in body] for i, name in enumerate(header) if i != label}
    if len(columns) != len(header) - 1:
        raise DataError(f"{path}: two columns have the same name; rename one")
    missing = [name for name, cells in columns.items() if any(_missing(cell) for cell in cells)]
    if missing:
        raise DataError(f"{path}: missing values in {_some(missing)}; fill or drop them first")
    text = [name for name, cells in columns.items() if any(_number(cell) is None for cell in cells)]
    if text:
        raise DataError(f"{path}: text in {_some(text)}; encode as numbers, or leave the columns out")
    if any(_missing(row[label]) for row in body):
        raise DataError(f"{path}: missing values in the label column {header[label]!r}; drop those rows")
    inputs = np.array([[float(cell) for cell in cells] for cells in columns.values()]).T
    cells = [row[label].strip() for row in body]
    numbers = [_number(cell) for cell in cells]
    labels = np.array(cells if None in numbers else numbers)
    return _task(path.name, str(path), inputs, labels)


def _task(name: str, where: str, inputs: NDArray, labels: NDArray) -> Task:
    """The checks that hold for every source; labels of any kind become 0..classes-1."""
    if inputs.ndim != 2 or labels.ndim != 1 or len(inputs) != len(labels) or inputs.size == 0:
        raise DataError(
            f"{where}: inputs of shape {inputs.shape} and labels of shape {labels.shape} do not fit; "
            "one row and one label a sample are needed"
        )
    inputs = np.ascontiguousarray(inputs, np.float64)
    bad = np.flatnonzero(~np.isfinite(inputs).all(0))
    if len(bad):
        raise DataError(
            f"{where}: missing or infinite values in {_some([f'column {i + 1}' for i in bad])}; "
            "fill or drop them first"
        )
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise DataError(f"{where}: missing values among the labels; drop those samples")
        if (labels != np.round(labels)).any():
            raise DataError(f"{where}: the labels are not whole numbers (a regression?); classes are needed")
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iubUS":
        raise DataError(f"{where}: labels of dtype {labels.dtype}; whole numbers or text are needed")
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise DataError(f"{where}: one class only ({classes[0]}); there is nothing to tell apart")
    if counts.min() < 5:
        few = [f"{c} ({n})" for c, n in zip(classes, counts, strict=True) if n < 5]
        raise DataError(
            f"{where}: {len(labels)} samples in {len(classes)} classes, and fewer than 5 of {_some(few)}; "
            "each class needs 5, to be shared out to training, validation and test data"
        )
    return Task(name, inputs, index.astype(np.int64), tuple(str(c) for c in classes))


def _missing(cell: str) -> bool:
    return cell.strip().lower() in ("", "na", "nan", "n/a", "null", "none", "?")


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _some(names: list[str], count: int = 5) -> str:
    rest = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + rest
