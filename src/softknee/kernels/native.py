"""Machine code: LLVM IR -> object code -> a Python callable, with a cache on disk."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from softknee.kernels.llvm import RUNTIME

__all__ = ["assembly", "cache_folder", "features", "load", "machine_name"]

NativeCall = Callable[..., None]


@cache
def _llvm() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@cache
def features() -> frozenset[str]:
    """What this processor offers, by LLVM's names (avx512f, fma, f16c, ...), and what it is tuned for."""
    found = frozenset(k for k, on in _llvm().get_host_cpu_features().items() if on)
    # Intel's lower their clock for some time after the widest registers were used; AMD's do not
    slows = "avx512f" in found and not _llvm().get_host_cpu_name().startswith("znver")
    return found | {"prefer-256-bit"} if slows else found


@cache
def machine_name() -> str:
    return f"{sys.platform}-{_llvm().get_host_cpu_name()}-" + "+".join(sorted(features()))


@cache
def _target_machine() -> Any:
    llvm = _llvm()
    target = llvm.Target.from_default_triple()
    attributes = llvm.get_host_cpu_features().flatten()
    if "avx512f" in features():
        attributes += ",-prefer-256-bit"
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=attributes, opt=2, reloc="pic", codemodel="small"
    )


def _module(ir: str) -> Any:
    module = _llvm().parse_assembly(ir)
    module.verify()
    return module


def _compile(ir: str) -> bytes:
    return bytes(_target_machine().emit_object(_module(ir)))


def assembly(ir: str) -> str:
    """The processor's own instructions, as text."""
    return str(_target_machine().emit_assembly(_module(ir)))


# The cache: object code by a hash of all that determines it. Anything may be wrong with the folder:
# a kernel is then compiled again, and the user is told once.

_told = False


def _tell(problem: str) -> None:
    global _told
    if not _told:
        _told = True
        warnings.warn(
            f"softknee: compiled kernels are not cached on disk ({problem}); set SOFTKNEE_CACHE to a "
            "folder that can be written to avoid compiling them in every process",
            RuntimeWarning,
            stacklevel=2,
        )


def cache_folder() -> Path | None:
    """SOFTKNEE_CACHE, else softknee/ in the user's cache folder; "off" turns caching off."""
    given = os.environ.get("SOFTKNEE_CACHE")
    if given == "off":
        return None
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "softknee"
    except RuntimeError:  # no home folder
        return None


_MAGIC = b"softknee1"


def _read(path: Path) -> bytes | None:
    """The object code in a cache file, None unless it is there and whole."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _tell(str(error))
        return None
    head = len(_MAGIC) + 32
    body = data[head:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : head]:
        return None  # cut short or not ours: compiled again and replaced
    return body


def _write(path: Path, body: bytes) -> None:
    """Atomic: two processes may write the same file at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(body).digest() + body)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        _tell(str(error))


def object_code(key: str, ir: Callable[[], str]) -> bytes:
    """Object code for `key` (which must determine the IR), compiled if it is not in the cache."""
    import llvmlite

    folder = cache_folder()
    digest = hashlib.sha256(f"{key}\0{llvmlite.__version__}\0{machine_name()}".encode()).hexdigest()
    path = folder / digest[:2] / f"{digest[2:]}.o" if folder is not None else None
    body = _read(path) if path is not None else None
    if body is None:
        body = _compile(ir())
        if path is not None:
            _write(path, body)
    return body


# The runtime: addresses the kernels call through a table that we own, so that the thread pool can
# be found late and taken away after a fork.

_runtime = (ctypes.c_void_p * len(RUNTIME))()


def _fill_runtime() -> None:
    for k, name in enumerate(RUNTIME):
        if name == "_Py_NoneStruct":
            _runtime[k] = id(None)
        elif not name.startswith(("GOMP", "omp")):
            _runtime[k] = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value


_fill_runtime()


def connect(pool: Any) -> bool:
    """Takes the OpenMP pool of a loaded library (torch's own); False where it has none."""
    try:
        found = [ctypes.cast(getattr(pool, n), ctypes.c_void_p).value for n in RUNTIME[-3:]]
    except AttributeError:
        return False
    for k, address in enumerate(found, len(RUNTIME) - 3):
        _runtime[k] = address
    return True


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("method", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_METH_FASTCALL = 0x0080
_new_function = ctypes.pythonapi.PyCFunction_NewEx
_new_function.restype = ctypes.py_object
_new_function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_alive: list[Any] = []  # method tables and code live as long as the process
_numbers = itertools.count()  # of kernels; counting is atomic, threads compile side by side


@cache
def _jit() -> Any:
    """JITLink lays the parts of an object side by side; the older linker may map them farther apart than their
    references reach, where much address space is taken, and then ends the process."""
    return _llvm().create_lljit_compiler(_target_machine(), use_jit_link=True)


def load(key: str, ir: Callable[[], str]) -> NativeCall:
    """The compiled kernel as a Python callable: (size, groups, threads, *addresses, *scalars)."""
    llvm = _llvm()
    body = object_code(key, ir)
    name = f"kernel{next(_numbers)}"
    library = (
        llvm.JITLibraryBuilder()
        .add_object_img(body)
        .export_symbol("call")
        .import_symbol("runtime", ctypes.addressof(_runtime))
        .link(_jit(), name)
    )
    method = _MethodDef(b"kernel", library["call"], _METH_FASTCALL, b"softknee kernel")
    _alive.append((library, method))
    return _new_function(ctypes.addressof(method), None, None)
