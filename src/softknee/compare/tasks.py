"""A task: what goes into a network, what is to come out, and the checks that hold for every source of data."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from softknee.compare.errors import DataError

Kind = Literal["classification", "regression", "multilabel", "next_token"]

SCORES = {
    "classification": "accuracy",
    "regression": "R²",
    "multilabel": "F1",
    "next_token": "next-token accuracy",
    "reconstruction": "R²",
}


@dataclass(frozen=True, eq=False)
class Task:
    """Inputs and targets, sample by sample.

    Attributes:
        name: what it is called in reports.
        inputs: (samples, features) numbers, or (samples, length) int64 tokens of a "next_token" task.
        targets: of a classification (samples,) in 0..classes-1; of a regression (samples, outputs); of a
            multilabel task (samples, labels) of 0 and 1; of a next-token task (samples, length) tokens.
        class_names: of the classes, labels or tokens; of a regression the outputs' names.
        kind: what is asked for.
        shape: (channels, *places) of a sample that is a signal or an image; () of a plain row. Images and
            signals are standardised as a whole, rows feature by feature.
    """

    name: str
    inputs: NDArray[Any]
    targets: NDArray[Any]
    class_names: tuple[str, ...]
    kind: Kind = "classification"
    shape: tuple[int, ...] = ()

    @property
    def classes(self) -> int:
        """How many numbers a network puts out, for each sample or position."""
        return len(self.class_names)

    @functools.cached_property
    def majority(self) -> float:
        """The score of guessing: always the most frequent class or token, the mean, the frequent labels."""
        if self.kind == "regression":
            return 0.0
        if self.kind == "multilabel":
            guess = self.targets.mean(0) > 0.5
            right = self.targets[:, guess].sum()
            return float(2 * right / (guess.sum() * len(self.targets) + self.targets.sum()))
        counts = np.bincount(self.targets.ravel())
        return float(counts.max() / counts.sum())

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over kind, shapes and values: two tasks with one digest are the same data."""
        about = repr(
            (self.kind, self.inputs.shape, str(self.inputs.dtype), self.shape, self.classes)
        ).encode()
        found = hashlib.sha256(about)
        for array in (self.inputs, self.targets):
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


def classification(name: str, where: str, inputs: NDArray[Any], labels: NDArray[Any], **more: Any) -> Task:
    """Labels of any kind become 0..classes-1."""
    inputs = checked(where, inputs, labels, "label")
    if labels.ndim != 1:
        raise DataError(f"{where}: labels of shape {labels.shape}; one label a sample is needed")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise DataError(f"{where}: missing values among the labels; drop those samples")
        if (labels != np.round(labels)).any():
            raise DataError(
                f"{where}: the labels are not whole numbers; for a regression say kind='regression'"
            )
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iubUS":
        raise DataError(f"{where}: labels of dtype {labels.dtype}; whole numbers or text are needed")
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise DataError(f"{where}: one class only ({classes[0]}); there is nothing to tell apart")
    if counts.min() < 5:
        few = [f"{c} ({n})" for c, n in zip(classes, counts, strict=True) if n < 5]
        raise DataError(
            f"{where}: {len(labels)} samples in {len(classes)} classes, and fewer than 5 of {some(few)}; "
            "each class needs 5, to be shared out to training, validation and test data"
        )
    return Task(name, inputs, index.reshape(-1).astype(np.int64), tuple(str(c) for c in classes), **more)


def regression(
    name: str, where: str, inputs: NDArray[Any], targets: NDArray[Any], names: Sequence[str] = (), **more: Any
) -> Task:
    inputs = checked(where, inputs, targets, "target")
    targets = _numbers(where, "targets", targets.reshape(len(targets), -1))
    if (np.ptp(targets, axis=0) == 0).any():
        raise DataError(f"{where}: a target is the same for every sample; there is nothing to predict")
    names = tuple(names) or tuple(f"y{i + 1}" for i in range(targets.shape[1]))
    return Task(name, inputs, targets, tuple(names), "regression", **more)


def multilabel(
    name: str, where: str, inputs: NDArray[Any], targets: NDArray[Any], names: Sequence[str] = (), **more: Any
) -> Task:
    inputs = checked(where, inputs, targets, "target")
    if targets.ndim != 2 or targets.dtype.kind not in "biuf" or not np.isin(targets, (0, 1)).all():
        raise DataError(
            f"{where}: several labels a sample are columns of 0 and 1, not {targets.shape} {targets.dtype}"
        )
    if (counts := targets.sum(0)).min() == 0 or counts.max() == len(targets):
        raise DataError(f"{where}: a label that every sample has, or none, says nothing; leave it out")
    names = tuple(names) or tuple(f"label {i + 1}" for i in range(targets.shape[1]))
    return Task(name, inputs, targets.astype(np.float32), tuple(names), "multilabel", **more)


def next_token(name: str, tokens: NDArray[np.int64], length: int, names: Sequence[str]) -> Task:
    """Windows of `length` tokens that do not overlap; each position is to tell the token after it."""
    count = (len(tokens) - 1) // length
    if count < 20:
        raise DataError(f"{name}: {len(tokens)} tokens; at least {20 * length + 1} are needed")
    inputs = tokens[: count * length].reshape(count, length)
    targets = tokens[1 : count * length + 1].reshape(count, length)
    return Task(name, inputs, np.ascontiguousarray(targets), tuple(names), "next_token")


def text(name: str, characters: str, length: int = 64) -> Task:
    """The next character; those that make up less than 1 in 10,000 are one, U+FFFD."""
    if len(characters) < 20 * length + 1:
        raise DataError(f"{name}: {len(characters)} characters; at least {20 * length + 1} are needed")
    codes = np.frombuffer(characters.encode("utf-32-le"), np.uint32)
    found, index, counts = np.unique(codes, return_inverse=True, return_counts=True)
    rare = counts < len(codes) / 10_000
    number = np.cumsum(~rare) - 1
    number[rare] = (~rare).sum()
    names = [chr(c) for c in found[~rare]] + ["\ufffd"] * bool(rare.any())
    return next_token(name, number[index.reshape(-1)].astype(np.int64), length, names)


def checked(where: str, inputs: NDArray[Any], targets: NDArray[Any], what: str) -> NDArray[Any]:
    """The inputs as rows of finite numbers, one for each target."""
    if inputs.dtype.kind not in "fiub":
        raise DataError(f"{where}: the inputs have dtype {inputs.dtype}; they must be numbers")
    if inputs.ndim < 2 or inputs.size == 0 or targets.ndim < 1 or len(inputs) != len(targets):
        raise DataError(
            f"{where}: inputs of shape {inputs.shape} and {what}s of shape {targets.shape} do not fit; "
            f"one row and one {what} a sample are needed"
        )
    return _numbers(where, "inputs", inputs.reshape(len(inputs), -1))


def _numbers(where: str, what: str, values: NDArray[Any]) -> NDArray[Any]:
    """float64, or float32 where the source has no more digits."""
    exact = values.dtype in (np.float32, np.float16, np.uint8, np.int8, np.bool_)
    values = np.ascontiguousarray(values, np.float32 if exact else np.float64)
    bad = np.flatnonzero(~np.isfinite(values).all(0))
    if len(bad):
        columns = some([f"column {i + 1}" for i in bad])
        raise DataError(
            f"{where}: missing or infinite values in {columns} of the {what}; fill or drop them first"
        )
    return values


def some(names: Sequence[str], count: int = 5) -> str:
    rest = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + rest
