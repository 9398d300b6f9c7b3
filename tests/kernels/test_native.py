"""The cache of compiled kernels works when its folder does not; threads come from torch or from Python."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import warnings
from pathlib import Path

import pytest

from softknee.kernels import native

#: the smallest module there is, in place of a kernel
IR = "define i32 @call() {\n ret i32 7\n}\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "not" / "there" / "yet"
    monkeypatch.setenv("SOFTKNEE_CACHE", str(folder))
    monkeypatch.setattr(native, "_told", False)
    return folder


def compiled(key: str = "a key") -> tuple[bytes, int, int]:
    """(object code, how often it was compiled, how often the user was told) of one request."""
    made = []

    def ir() -> str:
        made.append(1)
        return IR

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        body = native.object_code(key, ir)
    return body, len(made), len(said)


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def test_kernels_are_kept_and_found_again(cache: Path) -> None:
    body, made, said = compiled()
    assert (made, said) == (1, 0)
    assert compiled() == (body, 0, 0)
    assert compiled("another key")[1] == 1
    assert len(files(cache)) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "header", "foreign"])
def test_a_damaged_file_is_replaced(cache: Path, damage: str) -> None:
    body, _, _ = compiled()
    (path,) = files(cache)
    whole = path.read_bytes()
    bad = {"empty": b"", "cut": whole[:-9], "header": whole[:20], "foreign": b"x" * len(whole)}
    path.write_bytes(bad[damage])
    assert compiled() == (body, 1, 0)
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_made_is_reported_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = cache.parents[2] / "file"
    blocked.write_text("")
    monkeypatch.setenv("SOFTKNEE_CACHE", str(blocked / "cache"))
    body, made, said = compiled()
    assert (made, said) == (1, 1)
    assert compiled() == (body, 1, 0)  # works without it, says so once


def test_a_read_only_folder(cache: Path) -> None:
    compiled()
    for p in files(cache):
        p.unlink()
    folders = [cache, *(p for p in cache.rglob("*") if p.is_dir())]
    for p in folders:
        p.chmod(0o555)
    try:
        _, made, said = compiled()
        assert (made, said) == (1, 0 if os.access(folders[-1], os.W_OK) else 1)  # root may write everywhere
    finally:
        for p in folders:
            p.chmod(0o755)


@pytest.mark.parametrize("where", ["mkstemp", "write", "replace"])
def test_a_full_disk(cache: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    target = {"mkstemp": tempfile, "replace": os, "write": os}[where]
    with monkeypatch.context() as patch:
        patch.setattr(target, {"mkstemp": "mkstemp", "replace": "replace", "write": "fdopen"}[where], full)
        body, made, said = compiled()
        assert (made, said) == (1, 1)
    assert files(cache) == []  # nothing half written stays
    assert compiled() == (body, 1, 0)


def test_an_unreadable_file(cache: Path) -> None:
    body, _, _ = compiled()
    (path,) = files(cache)
    path.unlink()
    path.mkdir()  # reading it is an error, and so is replacing it
    assert compiled()[:2] == (body, 1)


def test_it_can_be_turned_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTKNEE_CACHE", "off")
    assert native.cache_folder() is None
    assert compiled()[1:] == (1, 0)
    assert compiled()[1:] == (1, 0)
    assert not cache.exists()


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SOFTKNEE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.cache_folder() == tmp_path / "softknee"


PROGRAM = """
import torch
from softknee import functional as F
x = torch.linspace(-3, 3, 1001)
assert torch.allclose(F.softsign(x), torch.nn.functional.softsign(x))
"""


def test_two_processes_at_once(tmp_path: Path) -> None:
    environment = os.environ | {"SOFTKNEE_CACHE": str(tmp_path)}
    both = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", PROGRAM], env=environment) for _ in range(2)
    ]
    assert [p.wait(timeout=120) for p in both] == [0, 0]
    found = files(tmp_path)
    assert found
    assert all(native._read(p) is not None for p in found)


def test_threads_of_python_where_torchs_pool_is_missing() -> None:
    """The same bits on one thread, on several, from several threads at once, and in a forked child."""
    program = """
    import os, threading, torch
    from softknee import functional as F
    x = torch.randn(100_000)
    torch.set_num_threads(1)
    want = F.mish(x)
    torch.set_num_threads(3)
    results = []
    def work():
        leaf = x.clone().requires_grad_()
        y = F.mish(leaf)
        y.sum().backward()
        results.append((y.detach(), leaf.grad))
    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert torch.equal(F.mish(x), want)
    assert len(results) == 3 and all(torch.equal(y, want) and torch.equal(g, results[0][1]) for y, g in results)
    weight = torch.full((4,), 0.25, requires_grad=True)
    a, b = [], []
    for n, out in ((1, a), (3, b)):
        torch.set_num_threads(n)
        out += torch.autograd.grad(F.prelu(x.reshape(-1, 4, 50), weight).square().sum(), weight)
    assert torch.equal(a[0], b[0])
    child = os.fork()
    if child == 0:
        os._exit(0 if F.mish(x)[::999].tolist() == want[::999].tolist() else 1)
    assert os.waitpid(child, 0)[1] == 0
    print("same")
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(program)],
        env=os.environ | {"SOFTKNEE_THREADS": "python"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.strip() == "same", done.stdout + done.stderr


def test_the_end_of_the_process_frees_nothing_that_is_still_looked_at() -> None:
    code = (
        "import torch, softknee.functional as F; [f(torch.ones(3)) for f in (F.relu, F.tanh, F.silu, F.elu)]"
    )
    # glibc overwrites what is freed
    marked = os.environ | {"PYTHONMALLOC": "malloc", "MALLOC_PERTURB_": "34"}
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, env=marked, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
