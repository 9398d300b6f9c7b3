"""The terminal table and the HTML report."""

from __future__ import annotations

import io
import itertools
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from rich.console import Console

from softknee.compare.records import Comparison
from softknee.compare.schedule import Progress
from softknee.show import comparison as drawing
from softknee.show.comparison_html import _scatter
from softknee.show.scale import scale, scale_of

VOID = {"meta", "br", "link", "line", "polyline", "polygon"}


@pytest.fixture(scope="module")
def found() -> Comparison:
    return drawing.compare(
        "iris",
        "relu,leaky_relu(negative_slope=0.1..0.3:2),prelu,sigmoid",
        seeds=6,
        depth=(1, 8),
        width=12,
        epochs=6,
        lr=(0.003, 0.01),
        progress=False,
    )


class Balanced(HTMLParser):
    """Collects the text; fails on a tag that is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def test_the_report_is_one_whole_file(found: Comparison, tmp_path: Path) -> None:
    page = found.save_html(tmp_path / "report.html").read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|https?://", page)  # nothing is loaded
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    text = " ".join(parser.text).replace("\u00a0", " ")
    assert found.answer in text
    for section in (
        "Ranking",
        "What depth costs",
        "What the activations' parameters do",
        "Learning curves",
        "Who beats whom",
        "Cost",
        "Dead and saturated",
        "Learned parameters",
        "Failures",
        "Learning rates",
        "How it was done",
    ):
        assert section in text
    assert found.command in " ".join(text.split())
    assert found.data[0].digest[:16] in text
    assert "None" not in text.split()
    assert "nan" not in text.split()


def test_names_are_escaped(found: Comparison) -> None:
    import dataclasses

    evil = dataclasses.replace(found, answer="<script>alert(1)</script>")
    assert "<script>" not in drawing.html(evil)
    assert "<script>" not in drawing.fragment(evil)


def test_the_notebook_shows_answer_and_ranking(found: Comparison) -> None:
    parser = Balanced()
    parser.feed(found._repr_html_())
    assert parser.open == []
    text = " ".join(parser.text).replace("\u00a0", " ")
    assert found.answer in text
    assert "leaky_relu(negative_slope=0.3)" in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_terminal_shows_all_columns(found: Comparison, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(drawing.render(found))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    text = " ".join(text.split())
    assert "8 hidden layers: validation accuracy by epoch" in text
    assert "learned weight of prelu, 1 hidden layer, layer by layer: 0." in text
    for word in ("test %", "behind", "gap", "dead", "sat.", "µs", "best", "●", "Answer"):
        assert word in text


def test_the_package_called_as_a_function_has_bar_and_drawing(capsys: pytest.CaptureFixture[str]) -> None:
    import softknee.compare

    found = softknee.compare("iris", "relu", seeds=2, depth=1, width=4, epochs=1, lr=0.01)
    assert "2 runs" in capsys.readouterr().err
    assert "relu" in found.table()


def test_several_data_sets_have_a_table_and_a_diagram() -> None:
    several = drawing.compare(
        "iris,wine", "relu,tanh,elu", seeds=2, depth=(1, 2), width=4, epochs=1, lr=0.01, progress=False
    )
    parser = Balanced()
    parser.feed(drawing.html(several))
    assert parser.open == []
    text = " ".join(parser.text)
    assert "mean rank" in text
    assert "critical-difference diagram" in text
    for level in several.levels:
        for s in level.standings:
            assert f"{100 * s.score.mean:.1f}" in text


def test_names_in_a_scatter_cover_nothing(found: Comparison) -> None:
    for level in found.levels:
        dots = _scatter(level)["dots"]
        assert {dot["label"].split(" ")[0] for dot in dots} == set(found.labels)
        assert all(0 <= dot[axis] <= 100 for dot in dots for axis in "xy")
        tops = sorted(
            dot["spot"][1] for dot in dots if dot["spot"] and dot["spot"][0] == "after" and dot["x"] < 1
        )
        assert all(b - a > 5 for a, b in itertools.pairwise(tops))


def test_plain_text(found: Comparison) -> None:
    assert found.table().count("relu") >= 4
    assert "\x1b" not in found.table()
    assert str(found).startswith(found.answer)


def test_one_activation_one_depth_one_seed_is_drawn() -> None:
    alone = drawing.compare("iris", "relu", seeds=1, depth=1, width=4, epochs=1, progress=False)
    page = drawing.html(alone)
    assert "What depth costs" not in page
    assert "Who beats whom" not in page
    assert "relu" in alone.table()


def test_the_bar_shows_notes_and_progress() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with drawing.bar(console) as listener:
        drawing.compare("iris", "relu", seeds=2, depth=1, width=4, epochs=2, progress=listener)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "one activation: nothing to test against" in text
    assert "100%" in text


@pytest.mark.parametrize(
    ("low", "high"), [(0.913, 0.985), (0.1, 1.0), (0.95, 0.95), (0.0, 1.0), (0.9501, 0.9502)]
)
def test_scales_hold_their_values_and_have_round_ends(low: float, high: float) -> None:
    axis = scale(low, high)
    assert axis.low <= low + 1e-9
    assert axis.high >= high - 1e-9
    assert 2 <= len(axis.ticks) <= 7
    assert axis.place(axis.low) == 0
    assert axis.place(axis.high) == 1
    assert axis.place(-5) == 0


def test_one_that_is_far_below_does_not_squeeze_the_others(found: Comparison) -> None:
    deep = found.levels[1]
    assert scale_of(deep, seeds=False).low <= deep.standings[0].score.low


def test_progress_in_a_notebook_without_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that is written over, no warning; notes stay"""
    written: list[str] = []

    class Line:
        def update(self, data: dict[str, str], raw: bool) -> None:
            written.append(data["text/plain"])

    def display(data: dict[str, str], raw: bool, display_id: bool = False) -> Line:
        written.append(data["text/plain"])
        return Line()

    clock = iter(range(0, 1000, 10))
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(drawing, "find_spec", lambda name: None)
    monkeypatch.setattr(drawing.time, "monotonic", lambda: float(next(clock)))
    with drawing.bar(Console(force_jupyter=True)) as listener:
        listener(Progress(0, 40, "", "40 runs"))
        listener(Progress(10, 40, "relu, depth 2"))
    assert written == [
        "starting",
        "40 runs",
        "starting: 0% after 10 s",
        "relu, depth 2: 25% after 20 s, 60 s left",
        "",
    ]
