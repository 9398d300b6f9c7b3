"""The run store: nothing is lost, nothing foreign is touched."""

from __future__ import annotations

import dataclasses
import multiprocessing
import sqlite3
import sys
import threading
from pathlib import Path

import pytest

from softknee.compare.engine import Outcome
from softknee.compare.errors import StoreError
from softknee.compare.protocol import Run
from softknee.compare.store import FILE, SCHEMA, Store

RUN = Run("relu", 1e-3, 0)
OUTCOME = Outcome(
    0.9, 0.2, 0.8, 1.0, (0.5, 1 / 3), (0.1, float("nan")), (0.3, 0.4), (0.0,), (0.25,), {"beta": ((1.0,), (1.1,))},
    1, 1e-4, 1000, 2000, 10, "",
)  # fmt: skip


def batch(*keys: str) -> dict[str, tuple[Run, Outcome]]:
    return dict.fromkeys(keys, (RUN, OUTCOME))


def test_what_was_saved_is_found_by_the_next_one(tmp_path: Path) -> None:
    with Store(tmp_path / "new" / "folder") as store:
        store.save(batch("a", "b"))
        assert not store.warnings
    with Store(tmp_path / "new" / "folder") as store:
        found = store.find(["b", "c"])
    assert list(found) == ["b"]
    assert repr(found["b"]) == repr(OUTCOME)  # every digit, nan too


def test_without_a_folder_it_lives_in_memory() -> None:
    store = Store(None)
    store.save(batch("a"))
    assert list(store.find(["a", "b"])) == ["a"]
    assert store.unsaved == 0


def test_the_first_result_of_a_run_stays(tmp_path: Path) -> None:
    with Store(tmp_path) as one, Store(tmp_path) as two:
        one.save(batch("a"))
        two.save({"a": (RUN, dataclasses.replace(OUTCOME, test_score=0.1))})
    with Store(tmp_path) as three:
        assert three.find(["a"])["a"].test_score == 0.9


def _write(folder: Path, name: str) -> None:
    with Store(folder) as store:
        for i in range(60):
            store.save(batch(f"{name}{i}", f"both{i}"))
        sys.exit(len(store.warnings))


def test_two_processes_write_one_store(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_write, args=(tmp_path, name)) for name in ("x", "y", "z")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    with Store(tmp_path) as store:
        keys = [f"{name}{i}" for name in ("x", "y", "z", "both") for i in range(60)]
        assert len(store.find(keys)) == 240


def test_another_process_makes_the_store_while_this_one_looks_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(sqlite3.Connection):
        def execute(self, text: str, *more: object) -> sqlite3.Cursor:
            if text == "PRAGMA user_version" and not others:
                others.append(threading.Thread(target=lambda: Store(tmp_path).close()))
                monkeypatch.undo()
                others[0].start()
                others[0].join(0.5)  # it is done, or waits for this one
            return super().execute(text, *more)

    others: list[threading.Thread] = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Watched))
    with Store(tmp_path) as store:
        store.save(batch("a"))
    others[0].join(60)
    with Store(tmp_path) as store:
        assert list(store.find(["a"])) == ["a"]


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.save(batch("a"))
        assert store._table._file is not None
        pages = store._table._file.execute("PRAGMA page_count").fetchone()[0]
        store._table._file.execute(f"PRAGMA max_page_count = {pages}")
        many = [f"{i:064d}" for i in range(100)]
        store.save(batch(*many))
        assert "disk is full" in store.warnings[0]
        assert store.unsaved == 100
        assert store.place is None
        assert len(store.find(many)) == 100
        store._table._file.execute("PRAGMA max_page_count = 100000")  # someone makes room
        store.save(batch("z"))
        assert store.unsaved == 0
    with Store(tmp_path) as store:
        assert len(store.find(["a", "z", *many])) == 102


def test_a_store_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.save(batch("a"))
    with sqlite3.connect(tmp_path / FILE) as file:
        file.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    file.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StoreError, match=f"version {SCHEMA + 1}, this one's {SCHEMA}"):
        Store(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as file:
        file.execute("CREATE TABLE theirs (x)")
    file.close()
    with pytest.raises(StoreError, match="another program's"):
        Store(tmp_path)


def test_a_file_of_rubbish_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="not a run store"):
        Store(tmp_path)
    assert (tmp_path / FILE).read_bytes() == b"not a database at all" * 100


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.save(batch(*(f"{i:064d}" for i in range(200))))
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=r"damaged|cannot be opened|not a run store"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another folder"):
        Store(tmp_path / "file" / "folder")
    with pytest.raises(StoreError, match="choose another folder"):
        Store("/proc/nothing")


def test_a_read_only_store_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path) as store:
        store.save(batch("a"))

    def refuse(self: Path, *args: object, **keywords: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with Store(tmp_path) as store:
        assert "read-only" in store.warnings[0]
        assert list(store.find(["a"])) == ["a"]
        store.save(batch("b"))
        assert store.unsaved == 1
        assert len(store.find(["a", "b"])) == 2


def test_a_damaged_row_is_reported(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.save(batch("a"))
        assert store._table._file is not None
        with store._table._file:
            store._table._file.execute("UPDATE runs SET outcome = '{'")
    with Store(tmp_path) as store:
        with pytest.raises(StoreError, match="cannot be read"):
            store.find(["a"])
