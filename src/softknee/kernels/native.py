"""Machine code: LLVM IR -> object code -> a Python callable, with a cache on disk."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import sys
import tempfile
import warnings
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from softknee.kernels.entry import RUNTIME, TEXT, WATCHING, Form, Place, Tensor, bound, kept

__all__ = ["assembly", "cache_folder", "features", "load", "load_text", "machine_name"]

NativeCall = Callable[..., None]


@cache
def llvm() -> Any:
    """The compiler's library, imported and made ready"""
    import llvmlite.binding

    llvmlite.binding.initialize_native_target()
    llvmlite.binding.initialize_native_asmprinter()
    return llvmlite.binding


@cache
def features() -> frozenset[str]:
    """What this processor offers, by LLVM's names (avx512f, fma, f16c, ...), and what it is tuned for."""
    found = frozenset(k for k, on in llvm().get_host_cpu_features().items() if on)
    # Intel's lower their clock for some time after the widest registers were used; AMD's do not
    intel = "avx512f" in found and not llvm().get_host_cpu_name().startswith("znver")
    return found | {"prefer-256-bit", *_quick_gather()} if intel else found


def _quick_gather() -> set[str]:
    """Says "quick-gather" where 16 elements of a table in the caches take less than the arithmetic they spare: on
    Intel's processors, if no microcode has slowed gathers down several times (Intel-SA-00828, "Downfall"). Linux
    says so; where it does not, nothing is known."""
    try:
        said = _GATHER.read_text()
    except OSError:
        return set()
    return {"quick-gather"} if said.startswith(("Not affected", "Vulnerable")) else set()


_GATHER = Path("/sys/devices/system/cpu/vulnerabilities/gather_data_sampling")


@cache
def machine_name() -> str:
    return f"{sys.platform}-{llvm().get_host_cpu_name()}-" + "+".join(sorted(features()))


@cache
def _target_machine(opt: int = 2) -> Any:
    target = llvm().Target.from_default_triple()
    attributes = llvm().get_host_cpu_features().flatten()
    if "avx512f" in features():
        attributes += ",-prefer-256-bit"
    return target.create_target_machine(
        cpu=llvm().get_host_cpu_name(), features=attributes, opt=opt, reloc="pic", codemodel="small"
    )


def _module(ir: str) -> Any:
    module = llvm().parse_assembly(ir)
    module.verify()
    return module


def _compile(ir: str, opt: int = 2) -> bytes:
    return bytes(_target_machine(opt).emit_object(_module(ir)))


def assembly(ir: str) -> str:
    """The processor's own instructions, as text."""
    return str(_target_machine().emit_assembly(_module(ir)))


# The cache: object code, and what else takes long to find, by a hash of all that determines it. Anything may be
# wrong with the folder: it is then made again, and the user is told once.

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
    """What a cache file keeps, None unless it is there and whole."""
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
        return None  # cut short or not ours: made again and replaced
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


def cached(key: str, suffix: str, make: Callable[[], bytes]) -> bytes:
    """What `make` gives, which `key` must determine; made if it is not in the cache."""
    folder = cache_folder()
    digest = hashlib.sha256(key.encode()).hexdigest()
    path = folder / digest[:2] / f"{digest[2:]}.{suffix}" if folder is not None else None
    body = _read(path) if path is not None else None
    if body is None:
        body = make()
        if path is not None:
            _write(path, body)
    return body


def object_code(key: str, ir: Callable[[], str], opt: int = 2) -> bytes:
    """Object code for `key` (which must determine the IR and opt), compiled if it is not in the cache."""
    import llvmlite

    return cached(f"{key}\0{llvmlite.__version__}\0{machine_name()}", "o", lambda: _compile(ir(), opt))


# The runtime: addresses the kernels call through a table that we own, so that the thread pool can
# be found late and taken away after a fork.

_runtime = (ctypes.c_void_p * len(RUNTIME))()


def _address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value


def _fill_runtime() -> None:
    values = {"_Py_NoneStruct": id(None), "_Py_TrueStruct": id(True)} | dict.fromkeys(WATCHING)
    for k, name in enumerate(RUNTIME):
        if name in values:
            _runtime[k] = values[name]
        elif name.startswith("Py"):
            _runtime[k] = _address(getattr(ctypes.pythonapi, name))
        elif name == "madvise" and sys.platform.startswith("linux"):
            _runtime[k] = _address(getattr(ctypes.CDLL(None), name, None))


_fill_runtime()


def connect(pool: Any) -> bool:
    """Takes the OpenMP pool of a loaded library (torch's own); False where it has none. None: gives it up."""
    names = [name for name in RUNTIME if name.startswith(("GOMP", "omp"))]
    try:
        found = [None if pool is None else _address(getattr(pool, name)) for name in names]
    except AttributeError:
        return False
    for name, address in zip(names, found, strict=True):
        _runtime[RUNTIME.index(name)] = address
    return True


def watch(c10: Any, library: Any, tensor: Any, key_of: Callable[[str], Any]) -> bool:
    """Takes torch's functions that tell whether a key is among those of this thread's calls, and whether a tensor is a
    view of the negative of another; False where one is missing. tensor: any; key_of: a key by its name."""
    symbols = {
        "has_key": (c10, "_ZN3c104impl28tls_is_dispatch_key_includedENS_11DispatchKeyE"),
        "is_negative": (library, "_ZN2at6native6is_negERKNS_6TensorE"),
    }
    try:
        found = {name: _address(getattr(lib, symbol)) for name, (lib, symbol) in symbols.items()}
        found |= {key: key_of(key).value for key in WATCHING}
        # a Python tensor holds torch's, which is one address
        words = (ctypes.c_void_p * (type(tensor).__basicsize__ // 8)).from_address(id(tensor))
        found["place_of_tensor"] = 8 * list(words).index(tensor._cdata)
    except (AttributeError, RuntimeError, ValueError):
        return False
    for name, value in found.items():
        _runtime[RUNTIME.index(name)] = value
    return True


def exchange(tensors: type, threads: Callable[[], int]) -> bool:
    """Takes a tensor type's C functions, for kernels called with tensors, and what tells the number of
    threads; False where it has none of the DLPack version known here. After `watch`, which the kernels call."""
    capsule = getattr(tensors, "__dlpack_c_exchange_api__", None)
    if capsule is None:
        return False
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = pointer(capsule, b"dlpack_exchange_api")
    if ctypes.c_uint32.from_address(table).value != 1:  # the major version: of the tables' form
        return False
    # the version and an older table's address; then: allocator, from object, to object, DLTensor from object
    functions = (ctypes.c_void_p * 4).from_address(table + 16)
    _alive.append(threads)
    _runtime[RUNTIME.index("tensor_of")] = functions[3]
    _runtime[RUNTIME.index("threads_of")] = id(threads)
    return True


#: the C functions that make tensors, and the Python objects of those tensors: by the names of `RUNTIME`
_MAKERS = {
    "new_tensor": ("aoti_torch_empty_strided",),
    "data_of": ("aoti_torch_get_data_ptr",),
    "free_tensor": ("aoti_torch_delete_tensor_object",),
    "object_of": ("_Z16THPVariable_WrapON2at10TensorBaseE", "_Z16THPVariable_WrapN2at10TensorBaseE"),
}


def maker(*libraries: Any) -> bool:
    """Takes torch's functions for kernels that make their results; False where one is missing. The tensors of its
    C interface (`shim.h`) are pointers to its own, as the function that wraps one in an object takes."""
    found = {
        name: next((_address(getattr(lib, s)) for lib in libraries for s in symbols if hasattr(lib, s)), None)
        for name, symbols in _MAKERS.items()
    }
    if None in found.values():
        return False
    for name, address in found.items():
        _runtime[RUNTIME.index(name)] = address
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
_new_function.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
#: method tables and code live longer than anything of Python's: a function looks at its table when it is freed
_alive: list[Any] = []
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_alive))
_numbers = itertools.count()  # of kernels; counting is atomic, threads compile side by side


@cache
def _jit() -> Any:
    """JITLink lays the parts of an object side by side; the older linker may map them farther apart than their
    references reach, where much address space is taken, and then ends the process."""
    made = llvm().create_lljit_compiler(_target_machine(), use_jit_link=True)
    _alive.append(made)
    return made


class Loaded(NamedTuple):
    """A compiled kernel: `call` takes addresses, (size, groups, threads, *addresses, *scalars); `on` takes
    tensors: (*tensors, *results, *scalars) returns True, (*tensors, *scalars) the results; both None where they do
    not suit it. See `entry.py`."""

    call: NativeCall
    on: Callable[..., Any]
    form: Form
    address: int

    def bound(
        self, geometry: Sequence[int], elements: int, inputs: Sequence[Tensor], results: Sequence[Tensor],
        places: Sequence[Place] | None = None,
    ) -> Callable[..., Any]:  # fmt: skip
        """As `on` without results, for tensors of some shapes and strides alone: see `entry.bound`."""
        return _function("bound", bound(self.form, self.address, geometry, elements, inputs, results, places))

    def kept(
        self, tensors: Any, size: int, most: int, addresses: Sequence[int], scalars: Sequence[float] = ()
    ) -> Callable[..., bool | None]:
        """`call` with everything but the tensors, float32 of some (shape, strides), as operands: see `entry.kept`."""
        return _function("kept", kept(self.form, self.address, tensors, size, most, addresses, scalars))


def load(key: str, ir: Callable[[], str], form: Form) -> Loaded:
    """The compiled kernel as Python callables."""
    (address,) = _linked(object_code(key, ir), "kernel")
    words = form.words(address)
    return Loaded(_function("call", words), _function("on", words), form, address)


def load_text(ir: str, form: Form) -> Loaded:
    """The same, known by the text itself: no object in the cache can be that of an earlier one."""
    return load(ir, lambda: ir, form)


def _function(name: str, words: Sequence[int]) -> Any:
    return _new_function(_methods()[name], array("q", words).tobytes(), None)


def _linked(body: bytes, *names: str) -> list[int]:
    """The addresses of an object's functions"""
    builder = llvm().JITLibraryBuilder().add_object_img(body)
    for name in names:
        builder = builder.export_symbol(name)
    library = builder.import_symbol("runtime", ctypes.addressof(_runtime)).link(
        _jit(), f"part{next(_numbers)}"
    )
    _alive.append(library)
    return [library[name] for name in names]


@cache
def _methods() -> dict[str, int]:
    """The addresses of what Python is told of the functions of `entry.py`"""
    names = ("call", "on", "bound", "kept")
    body = object_code(TEXT, lambda: TEXT, opt=0)  # as quick, and compiled in a sixth of the time
    methods = [
        _MethodDef(b"kernel", address, _METH_FASTCALL, b"softknee kernel")
        for address in _linked(body, *names)
    ]
    _alive.extend(methods)
    return dict(zip(names, map(ctypes.addressof, methods), strict=True))
