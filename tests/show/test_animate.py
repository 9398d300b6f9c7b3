"""Animations and the gallery."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from softknee.catalogue import all_definitions, get
from softknee.show.animate import animate, sweep
from softknee.show.gallery import gallery


def test_there_and_back_as_gif(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    animate(get("swish"), "beta", sweep(0, 4, 4), path)
    with Image.open(path) as made:
        assert made.n_frames == 6
        assert made.info["loop"] == 0
        frames = []
        for i in range(6):
            made.seek(i)
            frames.append(made.convert("RGB").tobytes())
    assert frames[1] == frames[5]
    assert frames[0] != frames[3]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg on the PATH")
def test_mp4(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    animate(get("elu"), "alpha", sweep(0, 2, 3), path, style="dark")
    assert path.read_bytes()[4:8] == b"ftyp"


def test_errors_come_before_anything_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="ffmpeg, which is not on the PATH"):
        animate(get("swish"), "beta", [1, 2], tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="gif or mp4"):
        animate(get("swish"), "beta", [1, 2], tmp_path / "a.avi")
    with pytest.raises(ValueError, match="needs beta > 0"):
        animate(get("softplus"), "beta", [1, -2], tmp_path / "a.gif")
    with pytest.raises(ValueError, match="positive ends"):
        sweep(0, 1, 5, logarithmic=True)
    assert list(tmp_path.iterdir()) == []


def test_sweep() -> None:
    assert sweep(0, 1, 3) == pytest.approx([0, 0.5, 1])
    assert sweep(1, 100, 3, logarithmic=True) == pytest.approx([1, 10, 100])


def test_gallery_has_every_function_and_no_name_overlaps() -> None:
    few = all_definitions()[::6]
    made = gallery(few, columns=5)
    assert sorted(t.get_text() for panel in made.axes for t in panel.texts) == sorted(d.name for d in few)
    made.draw_without_rendering()
    boxes = [t.get_window_extent() for panel in made.axes for t in panel.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
