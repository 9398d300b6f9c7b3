"""Data of one's own: npz, csv, parquet, text and idx files, and functions that return tensors or a DataLoader."""

from __future__ import annotations

import csv
import gzip
import importlib
import importlib.util
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softknee.compare.errors import CompareError, DataError
from softknee.compare.tasks import Kind, Task, classification, multilabel, regression, some, text

ENDINGS = (".npz", ".csv", ".parquet", ".txt", "-ubyte", "-ubyte.gz")
_FEATURES = ("x", "data", "features", "inputs")
_TRUTH = {"True": "1", "False": "0", "true": "1", "false": "0"}
_LABELS = ("y", "target", "targets", "label", "labels", "class")


def is_file_name(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def read(path: Path, kind: Kind | None) -> Task:
    """The task in a file, or in a folder of idx files."""
    ending = path.suffix.lower()
    readers: dict[str, Callable[[Path, Kind | None], Task]] = {
        ".npz": _npz, ".csv": _csv, ".parquet": _parquet, ".txt": _text,
    }  # fmt: skip
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if ending in readers:
        return readers[ending](path, kind)
    if path.is_dir() or path.name.lower().endswith(ENDINGS):
        return _idx(path)
    raise DataError(
        f"{path}: softknee reads files that end in {', '.join(ENDINGS)}, and folders of idx files"
    )


def imported(name: str) -> Any:
    """The object that `module:function` or `file.py:function` names."""
    module, _, attribute = name.rpartition(":")
    try:
        if module.endswith(".py"):
            path = Path(module).resolve()
            if not path.is_file():
                raise CompareError(f"{name}: no file {module}")
            specification = importlib.util.spec_from_file_location(path.stem, path)
            assert specification is not None
            assert specification.loader is not None
            found = importlib.util.module_from_spec(specification)
            sys.modules.setdefault(path.stem, found)
            specification.loader.exec_module(found)
        else:
            if str(Path.cwd()) not in sys.path:
                sys.path.insert(0, str(Path.cwd()))
            found = importlib.import_module(module)
        return getattr(found, attribute)
    except (ImportError, SyntaxError) as error:
        raise CompareError(f"{name}: {module} cannot be imported: {error}") from None
    except AttributeError as error:
        raise CompareError(f"{name}: {error}") from None


def returned(name: str, kind: Kind | None) -> Task:
    """The task that a function returns: a `Task`, inputs and targets, a Dataset or a DataLoader."""
    try:
        value = imported(name)()
    except CompareError as error:
        raise DataError(str(error)) from None
    except Exception as error:
        raise DataError(f"{name} failed: {type(error).__name__}: {error}") from error
    return task_of(value, name, kind)


def task_of(value: Any, name: str, kind: Kind | None = None) -> Task:
    """A task from whatever holds inputs and targets."""
    if isinstance(value, Task):
        return value
    if not isinstance(value, (tuple, list)):
        value = _collected(value, name)
    if len(value) != 2:
        raise DataError(f"{name} gives {len(value)} things; inputs and targets are needed")
    try:
        inputs, targets = map(_array, value)
    except ValueError as error:
        raise DataError(f"{name}: not a table of numbers: {str(error).split(' The detected')[0]}") from None
    return _task(name, name, inputs, targets, kind)


def _array(value: Any) -> NDArray[Any]:
    import torch

    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value  # numpy has none
    return np.asarray(value)


def _collected(value: Any, name: str) -> tuple[Any, Any]:
    """A DataLoader's batches or a Dataset's samples, put together."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    if isinstance(value, Dataset):
        value = DataLoader(value, batch_size=256)
    if not isinstance(value, DataLoader):
        raise DataError(
            f"{name} returned {type(value).__name__}; inputs and targets, or a DataLoader, are needed"
        )
    batches = list(value)
    if not batches or any(not isinstance(b, (tuple, list)) or len(b) != 2 for b in batches):
        raise DataError(f"{name}: each batch must be inputs and targets, and there must be one")
    return tuple(torch.cat([b[i] for b in batches]) for i in (0, 1))  # type: ignore[return-value]


def _npz(path: Path, kind: Kind | None) -> Task:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {key.lower(): file[key] for key in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(f"{path} cannot be read as an npz file of plain arrays: {error}") from None
    features = next((arrays[key] for key in _FEATURES if key in arrays), None)
    labels = next((arrays[key] for key in _LABELS if key in arrays), None)
    if features is None or labels is None:
        raise DataError(
            f"{path} holds {', '.join(arrays) or 'no arrays'}; it needs inputs called one of "
            f"{', '.join(_FEATURES)} and labels called one of {', '.join(_LABELS)}"
        )
    return _task(path.name, str(path), features, labels, kind)


def _csv(path: Path, kind: Kind | None) -> Task:
    """A header, then one sample a row, with commas, semicolons or tabs; the labels are the column called y, target,
    label or class, else the last."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            rows = [row for row in csv.reader(file, delimiter=max(",;\t", key=first.count)) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a csv file: {error}") from None
    if len(rows) < 2:
        raise DataError(f"{path} has no samples: it needs a header line and one line a sample")
    header, *body = rows
    if len(header) < 2:
        raise DataError(f"{path}: one column only; features and labels are needed")
    if "" in header:
        raise DataError(
            f"{path}: column {header.index('') + 1} has no name; leave it out if it numbers the rows"
        )
    for number, row in enumerate(body, 2):
        if len(row) != len(header):
            raise DataError(f"{path}: row {number} has {len(row)} columns, the header has {len(header)}")
    if all(_number(cell) is not None for cell in header):
        raise DataError(f"{path}: the first line is numbers; it must be the columns' names")
    return _columns(path, header, [list(cells) for cells in zip(*body, strict=True)], kind)


def _parquet(path: Path, kind: Kind | None) -> Task:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DataError(f"{path}: parquet files need pyarrow: pip install 'softknee[data]'") from None
    try:
        table = parquet.read_table(path)
    except (OSError, ArrowException) as error:
        raise DataError(f"{path} cannot be read as a parquet file: {str(error).splitlines()[0]}") from None
    if not table.num_rows:
        raise DataError(f"{path} has no samples")
    columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    return _columns(path, table.column_names, columns, kind)


def _columns(path: Path, header: list[str], cells: list[list[str]], kind: Kind | None) -> Task:
    """The columns of a table; numbers everywhere but in the labels."""
    label = next((i for i, name in enumerate(header) if name.strip().lower() in _LABELS), len(header) - 1)
    columns = {name: column for i, (name, column) in enumerate(zip(header, cells, strict=True)) if i != label}
    if len(columns) != len(header) - 1:
        raise DataError(f"{path}: two columns have the same name; rename one")
    missing = [name for name, column in columns.items() if any(_missing(cell) for cell in column)]
    if missing:
        raise DataError(f"{path}: missing values in {some(missing)}; fill or drop them first")
    columns = {name: [_TRUTH.get(cell.strip(), cell) for cell in column] for name, column in columns.items()}
    words = [name for name, column in columns.items() if any(_number(cell) is None for cell in column)]
    if words:
        raise DataError(f"{path}: text in {some(words)}; encode as numbers, or leave the columns out")
    if any(_missing(cell) for cell in cells[label]):
        raise DataError(f"{path}: missing values in the label column {header[label]!r}; drop those rows")
    inputs = np.array([[float(cell) for cell in column] for column in columns.values()]).T
    stripped = [cell.strip() for cell in cells[label]]
    numbers = [_number(cell) for cell in stripped]
    return _task(path.name, str(path), inputs, np.array(stripped if None in numbers else numbers), kind)


def _text(path: Path, kind: Kind | None) -> Task:
    if kind not in (None, "next_token"):
        raise DataError(f"{path}: of a text the next character is asked for; kind={kind!r} does not fit")
    try:
        return text(path.name, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from None


def _idx(path: Path) -> Task:
    """The images of one idx file, or all in a folder, with the labels beside them."""
    found = sorted(path.glob("*images-idx*-ubyte*")) if path.is_dir() else [path]
    if not found:
        raise DataError(f"{path}: no idx files there; they are called ...-images-idx3-ubyte or ...-ubyte.gz")
    inputs, labels = [], []
    for file in found:
        beside = file.with_name(file.name.replace("images-idx3", "labels-idx1"))
        if beside == file:
            raise DataError(
                f"{file}: give the images, ...-images-idx3-ubyte; the labels are found beside them"
            )
        if not beside.is_file():
            raise DataError(f"{file}: its labels, {beside.name}, are not beside it")
        inputs.append(_idx_array(file))
        labels.append(_idx_array(beside))
    return _task(path.name, str(path), np.concatenate(inputs), np.concatenate(labels), "classification")


def _idx_array(path: Path) -> NDArray[Any]:
    """http://yann.lecun.com/exdb/mnist: 0, 0, a code of the type, the number of dimensions, the sizes, the values."""
    kinds = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read()
        zero, code, dimensions = struct.unpack(">HBB", data[:4])
        sizes = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
        values = np.frombuffer(data, kinds[code], offset=4 + 4 * dimensions).reshape(sizes)
        if zero:
            raise ValueError("wrong first bytes")
    except (OSError, EOFError, struct.error, KeyError, ValueError) as error:
        raise DataError(f"{path} cannot be read as an idx file: {error}") from None
    return values


def _task(name: str, where: str, inputs: NDArray[Any], targets: NDArray[Any], kind: Kind | None) -> Task:
    """The kind of task the values show, unless it is given: fractions are a regression, columns of 0 and 1 labels."""
    shape = {"shape": _shape(inputs)} if inputs.ndim > 2 and inputs.size else {}
    if kind is None:
        numbers = targets.dtype.kind == "f" and np.isfinite(targets).all()
        if targets.ndim == 2 and targets.shape[1] > 1:
            kind = (
                "classification"
                if _one_hot(targets)
                else (
                    "multilabel"
                    if targets.dtype.kind in "biuf" and np.isin(targets, (0, 1)).all()
                    else "regression"
                )
            )
        else:
            kind = "regression" if numbers and (targets != np.round(targets)).any() else "classification"
    if kind == "regression":
        return regression(name, where, inputs, targets, **shape)
    if kind == "multilabel":
        return multilabel(name, where, inputs, targets, **shape)
    if kind != "classification":
        raise DataError(f"{where}: kind={kind!r}; it is classification, regression or multilabel here")
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    elif _one_hot(targets):
        targets = targets.argmax(1)
    return classification(name, where, inputs, targets, **shape)


def _one_hot(targets: NDArray[Any]) -> bool:
    """Whether each row is one 1 among 0s."""
    if targets.ndim != 2 or targets.dtype.kind not in "biuf":
        return False
    return bool(np.isin(targets, (0, 1)).all() and (targets.sum(1) == 1).all())


def _shape(inputs: NDArray[Any]) -> tuple[int, ...]:
    """(samples, height, width) are images of one channel; of four dimensions the second are the channels."""
    return (1, *inputs.shape[1:]) if inputs.ndim == 3 else inputs.shape[1:]


def _cell(value: object) -> str:
    return "" if value is None else str(int(value) if isinstance(value, bool) else value)


def _missing(cell: str) -> bool:
    return cell.strip().lower() in ("", "na", "nan", "n/a", "null", "none", "?")


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
