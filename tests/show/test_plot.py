"""Pictures: what is in them, and that labels do not overlap."""

from __future__ import annotations

import math
import random
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

import softknee as sk
from softknee.analysis import facts
from softknee.catalogue import all_definitions, get
from softknee.show.language import reader, reader_of_pictures
from softknee.show.plot import (
    SIZES,
    STYLES,
    Curve,
    Errors,
    _apart,
    curve,
    error_figure,
    family,
    figure,
    save,
    ulp_figure,
)
from softknee.show.window import samples, x_window, y_window
from softknee.testing.measure import ulp_errors

CROWD = ["relu", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus", "hardswish", "sigmoid"]


def _unreadable(made: Figure, names: list[str]) -> list[str]:
    """What is wrong with the labels: each panel, or the legend, names all; no two touch, none leaves the picture."""
    found = []
    for host in made.legends or made.axes:
        labels = {t.get_text(): Text.get_window_extent(t) for t in host.texts if t.get_text()}
        if sorted(labels) != sorted(names):
            found.append(f"named are {sorted(labels)}")
        found += [f"{a} touches {b}" for a, b in combinations(labels, 2) if labels[a].overlaps(labels[b])]
        for name, box in labels.items():
            inside = made.bbox.x0 <= box.x0 < box.x1 <= made.bbox.x1 + 1
            if not (inside and made.bbox.y0 <= box.y0 < box.y1 <= made.bbox.y1 + 1):
                found.append(f"{name} leaves the picture")
            if any(box.overlaps(panel.bbox) for panel in made.axes):
                found.append(f"{name} stands in a panel")
    return found


@pytest.mark.parametrize(("size", "style"), [("paper", "light"), ("wide", "dark"), ("slide", "dark")])
def test_labels_do_not_overlap_and_stay_inside(size: str, style: str) -> None:
    made = figure([get(n) for n in CROWD], derivative=True, size=size, style=style)
    assert _unreadable(made, CROWD) == []


def _sets(count: int) -> list[tuple[Any, ...]]:
    """Pairs and triples of the catalogue, how they are drawn, and in which language; the same ones every time."""
    draw = random.Random(3)
    known = [d for d in all_definitions() if all(p.default is not None for p in d.parameters)]
    return [
        (draw.sample(known, 2 + k % 2), list(SIZES)[k % 3], bool(k % 4), draw.choice(["en", "ru"]))
        for k in range(count)
    ]


@pytest.mark.parametrize("count", [6, pytest.param(300, marks=pytest.mark.exhaustive)])
def test_labels_of_any_few(count: int) -> None:
    """Curves that run into each other, that end in one place, that leave the window."""
    for drawn, size, derivative, language in _sets(count):
        made = figure(
            drawn, derivative=derivative, size=size, language=language, asymptotes=True, saturation=True
        )
        names = [reader(language).curve(d.name) for d in drawn]
        assert _unreadable(made, names) == [], (names, size)


@pytest.mark.exhaustive
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_labels_of_the_whole_catalogue(size: str, language: str) -> None:
    """Eight at a time, each curve with its neighbours in the catalogue."""
    known = [d for d in all_definitions() if all(p.default is not None for p in d.parameters)]
    for start in range(0, len(known), 8):
        drawn = known[start : start + 8]
        made = figure(drawn, derivative=True, size=size, language=language)
        assert _unreadable(made, [reader(language).curve(d.name) for d in drawn]) == []


def test_panels_with_long_labels_stand_below_each_other() -> None:
    forms = [curve(get("gelu"), approximate=a) for a in ("none", "tanh", "sigmoid")]
    for size in ("slide",):
        made = error_figure(forms, derivative=True, size=size)
        assert all(panel.bbox.width > made.bbox.width / 2 for panel in made.axes)
        above, below = made.axes
        assert above.bbox.y0 > below.bbox.y1
        left, right = figure([get("relu"), get("gelu")], derivative=True, size=size).axes
        assert left.bbox.x1 < right.bbox.x0


def test_labels_that_are_too_long_or_too_many_become_a_legend() -> None:
    long = [curve(get("acon_c"), p1=1.2, p2=-0.8, beta=2), curve(get("hardtanh"), min_val=-2, max_val=3)]
    many = [*map(get, CROWD), *(curve(get("leaky_relu"), negative_slope=k / 10) for k in range(1, 13))]
    for drawn, size in ((long, "paper"), (many, "wide")):
        made = figure(drawn, derivative=True, size=size)
        made.draw_without_rendering()
        assert made.legends
        assert _unreadable(made, [one.label if isinstance(one, Curve) else one.name for one in drawn]) == []
        assert min(panel.bbox.height for panel in made.axes) > made.bbox.height / 6


def test_pictures_in_other_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    (panel,) = figure([get("sigmoid"), curve(get("elu"), alpha=2)], language="ru").axes
    assert {t.get_text() for t in panel.texts} == {"сигмоида", "ELU(alpha=2)"}
    with monkeypatch.context() as patch:  # fonts are names, so that they hold when the picture is saved
        patch.setattr("softknee.show.plot.fonts", lambda _: ["DejaVu Serif"])
        (panel,) = figure([get("sigmoid"), get("elu")]).axes
        assert {tuple(t.get_fontfamily()) for t in panel.findobj(Text)} == {("DejaVu Serif",)}
    monkeypatch.setattr("matplotlib.font_manager.fontManager.ttflist", [])
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", list)
    with pytest.warns(UserWarning, match="no font with the letters of 'zh'"):
        assert reader_of_pictures("zh") == reader("en")
    with pytest.raises(ValueError, match="language must be one of"):
        figure([get("relu")], language="xx")


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


def _of(panel: Axes, gid: str) -> list[object]:
    return [a for a in (*panel.lines, *panel.patches) if a.get_gid() == gid]


def test_asymptotes_are_those_of_the_facts() -> None:
    f, slope = figure([get("sigmoid")], derivative=True, asymptotes=True).axes
    assert [float(line.get_ydata()[0]) for line in _of(f, "asymptote")] == [0, 1]
    assert [float(line.get_ydata()[0]) for line in _of(slope, "asymptote")] == [0]  # of both sides
    (line,) = [
        a for a in _of(figure([get("silu")], asymptotes=True).axes[0], "asymptote") if a.get_ydata()[1] > 1
    ]
    assert tuple(line.get_ydata()) == tuple(line.get_xdata())


def test_saturation_is_shaded_where_the_slope_is_small() -> None:
    (panel,) = figure([get("sigmoid")], saturation=True).axes
    left, right = (patch.get_extents() for patch in _of(panel, "saturation"))
    edge = panel.transData.inverted().transform((left.x1, 0))[0]
    assert edge == pytest.approx(-5.98, abs=0.02)  # s(1 - s) = 0.25 / 100
    assert panel.transData.inverted().transform((right.x0, 0))[0] == pytest.approx(-edge, abs=0.02)
    assert _of(figure([get("abs")], saturation=True).axes[0], "saturation") == []


def test_a_family_has_a_scale_of_colours() -> None:
    (panel,) = figure(family(get("swish"), "beta", [0.5, 1, 2]), ordered=True).axes
    assert {t.get_text() for t in panel.texts} == {"beta=0.5", "beta=1", "beta=2"}
    assert len({line.get_color() for line in panel.lines if len(line.get_xdata()) > 100}) == 3
    assert sk.get("swish").plot(vary={"beta": [1, 2]}, derivative=True).axes


@pytest.mark.parametrize("look", ["light", "dark"])
def test_every_colour_of_a_scale_is_seen_on_its_paper(look: str) -> None:
    def light(colour: str) -> float:
        """The relative luminance."""
        parts = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour))
        return float(np.dot((0.2126, 0.7152, 0.0722), list(parts)))

    drawn = figure(family(get("swish"), "beta", [0, 0.5, 1, 2, 10]), ordered=True, style=look)
    paper = light(STYLES[look].paper)
    for one in drawn.axes[0].texts:
        dark, bright = sorted((light(one.get_color()), paper))
        assert (bright + 0.05) / (dark + 0.05) >= 3


def test_errors_of_approximations() -> None:
    (panel,) = error_figure([get("gelu"), curve(get("gelu"), approximate="tanh")], x=(-4, 4)).axes
    drawn = max(panel.lines, key=lambda line: len(line.get_xdata()))
    assert np.abs(drawn.get_ydata()).max() == pytest.approx(4.73e-4, rel=1e-2)
    with pytest.raises(ValueError, match="takes two"):
        error_figure([get("gelu")])


def test_ulp_errors_and_their_picture() -> None:
    ours = Errors("softknee", *ulp_errors(get("gelu"), "float32", (-6, 6), count=41))
    theirs = Errors("torch", *ulp_errors(get("gelu"), "float32", (-6, 6), count=41, peer="torch"))
    assert max(ours.ulps) < 1
    assert max(theirs.ulps) > 1e6  # below -5.5 it has no right digit
    (panel,) = ulp_figure([ours, theirs], dtype="float32").axes
    assert panel.get_yscale() == "symlog"
    with pytest.raises(ValueError, match="dtype must be one of"):
        ulp_errors(get("gelu"), "float12")
