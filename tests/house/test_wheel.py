"""The wheel: built, installed where the source tree is out of reach, and used."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    source = ROOT / "src"
    files = {
        path.relative_to(source).as_posix()
        for path in (source / "softknee").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("softknee/")}
    assert names == files
    assert "softknee/py.typed" in names


def test_it_works_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    _run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    _run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python,
         "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)  # fmt: skip
    # The dependencies come from here. A path listed in a .pth file is searched, but the .pth files in it
    # are not read, so an editable installation stays out of reach.
    site = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    code = (
        "import torch, softknee as sk\n"
        "from softknee import nn, functional as F\n"
        "x = torch.linspace(-3, 3, 101, requires_grad=True)\n"
        "for f in (F.mish, nn.Mish(), sk.get('mish')):\n"
        "    y = f(x)\n"
        "    assert torch.allclose(y, torch.nn.functional.mish(x), atol=1e-6)\n"
        "    (g,) = torch.autograd.grad(y.sum(), x)\n"
        "    assert torch.isfinite(g).all()\n"
        "print(sk.__file__)\n"
    )
    assert Path(_run(python, "-c", code, cwd=tmp_path)).is_relative_to(environment)
    version = _run(environment / "bin" / "softknee", "--version", cwd=tmp_path)
    assert version.split()[-1] == wheel.name.split("-")[1]
