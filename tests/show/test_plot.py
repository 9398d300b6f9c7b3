"""Pictures: what is in them, and that labels do not overlap."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from softknee.analysis import facts
from softknee.catalogue import get
from softknee.show.plot import _apart, curve, figure, save
from softknee.show.window import samples, x_window, y_window

CROWD = ["relu", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus", "hardswish", "sigmoid"]


@pytest.mark.parametrize(("size", "style"), [("paper", "light"), ("wide", "dark"), ("slide", "dark")])
def test_labels_do_not_overlap_and_stay_inside(size: str, style: str) -> None:
    made = figure([get(n) for n in CROWD], derivative=True, size=size, style=style)
    frame = made.bbox
    for panel in made.axes:
        labels = {t.get_text(): Text.get_window_extent(t) for t in panel.texts if t.get_text()}
        assert sorted(labels) == sorted(CROWD)
        for (_, a), (_, b) in combinations(labels.items(), 2):
            assert not a.overlaps(b)
        for box in labels.values():
            assert box.x0 >= panel.bbox.x1
            assert frame.x0 <= box.x0 < box.x1 <= frame.x1 + 1
            assert frame.y0 <= box.y0 < box.y1 <= frame.y1 + 1


def test_kinks_are_marked_with_both_sides() -> None:
    _, panel = figure([get("relu")], derivative=True).axes
    marks = {
        (line.get_xdata()[0], line.get_ydata()[0]): line.get_markerfacecolor() == line.get_markeredgecolor()
        for line in panel.lines if line.get_marker() == "o"
    }  # fmt: skip
    assert marks == {(0.0, 0.0): True, (0.0, 1.0): False}  # the slope used is filled


def test_curves_are_interrupted_where_they_jump() -> None:
    (panel,) = figure([get("binary_step")]).axes
    drawn = max(panel.lines, key=lambda line: len(line.get_xdata()))
    x, y = drawn.get_xdata(), drawn.get_ydata()
    assert np.isnan(y[x == 0]).all()
    assert {0.0, 1.0} == set(y[~np.isnan(y)])


def test_windows() -> None:
    assert x_window([facts(get("gelu"))]) == (-4, 4)
    assert x_window([facts(get("relu6"))]) == (-4, 8)
    low, high = y_window([np.array([0.0, 100.0, math.nan])], (-4, 4))
    assert low == pytest.approx(-0.252)
    assert high < 5
    x = samples((-4, 4), [0.5])
    assert np.all(np.diff(x) > 0)
    assert {0.5, float(np.nextafter(0.5, 1)), float(np.nextafter(0.5, 0))} <= set(x)


def test_labels_move_as_little_as_possible() -> None:
    assert _apart([0.0, 5.0], 1, -1, 6) == [0, 5]
    assert _apart([1.0, 1.0, 1.0], 1, -9, 9) == [0, 1, 2]
    assert _apart([0.0, 0.2, 3.0], 1, -9, 9) == pytest.approx([-0.4, 0.6, 3])


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    save(figure([curve(get("swish"), beta=0.5)], title="Swish"), path)
    assert path.stat().st_size > 3000


def test_errors(tmp_path: Path) -> None:
    made = figure([get("gelu")])
    with pytest.raises(ValueError, match="png, svg, pdf"):
        save(made, tmp_path / "picture.jpg")
    with pytest.raises(FileNotFoundError, match="no folder"):
        save(made, tmp_path / "missing" / "picture.png")
    with pytest.raises(ValueError, match="size must be one of paper, wide, slide"):
        figure([get("gelu")], size="poster")
    with pytest.raises(ValueError, match="at least one"):
        figure([])
    with pytest.raises(ValueError, match="must rise"):
        figure([get("gelu")], x=(2, -2))
