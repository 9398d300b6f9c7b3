"""Finished runs, kept in `runs.sqlite` in a folder, so that none is done twice and none is lost.

One row a run, under a key made of everything that defines it. A batch of runs is one transaction: whatever ends
the process, the file holds all of a batch or nothing of it. Several processes may share a folder.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softknee.compare.engine import Outcome
from softknee.compare.errors import StoreError
from softknee.compare.protocol import Run

if TYPE_CHECKING:
    from typing_extensions import Self

FILE = "runs.sqlite"
SCHEMA = 2
_APPLICATION = 0x6B6E6565  # "knee": marks the file as ours
_WAIT = 60.0  # seconds for another process to finish its transaction

_CREATE = """CREATE TABLE IF NOT EXISTS runs (
    key TEXT PRIMARY KEY, run TEXT NOT NULL, outcome TEXT NOT NULL, finished TEXT NOT NULL) WITHOUT ROWID"""


class Store:
    """Outcomes by key, in a folder or (`folder=None`) in memory only.

    When the file can no longer be written (disk full, taken away) the outcomes stay in memory, `warnings` says
    so, and every later save tries again: a comparison never fails because of its store.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.warnings: list[str] = []
        self._memory: dict[str, Outcome] = {}
        self._pending: dict[str, Run] = {}
        self._file: sqlite3.Connection | None = None
        if folder is not None:
            self._path = Path(folder) / FILE
            self._open()

    def find(self, keys: Iterable[str]) -> dict[str, Outcome]:
        """The outcomes that are there, whoever wrote them."""
        found = {key: self._memory[key] for key in keys if key in self._memory}
        if self._file is not None:
            try:
                for key in keys:
                    row = self._file.execute("SELECT outcome FROM runs WHERE key = ?", (key,)).fetchone()
                    if row and key not in found:
                        found[key] = _outcome(row[0])
            except (sqlite3.DatabaseError, ValueError, TypeError) as error:
                raise self._unusable(f"cannot be read ({error})") from None
        return found

    def save(self, outcomes: Mapping[str, tuple[Run, Outcome]]) -> None:
        """Adds a batch in one transaction; a run that another process has finished meanwhile stays as it is."""
        self._memory |= {key: outcome for key, (_, outcome) in outcomes.items()}
        if self._file is None:
            return
        self._pending |= {key: run for key, (run, _) in outcomes.items()}
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        rows = [
            (key, json.dumps(asdict(run)), json.dumps(asdict(self._memory[key])), now)
            for key, run in self._pending.items()
        ]
        try:
            with self._file:
                self._file.executemany("INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?)", rows)
            self._pending.clear()
        except sqlite3.DatabaseError as error:
            self._warn(
                f"{self._path} cannot be written ({error}): runs stay in memory, each batch tries again"
            )

    @property
    def place(self) -> Path | None:
        """The file, if outcomes are written to one."""
        return self._path if self._file is not None and not self._pending else None

    @property
    def unsaved(self) -> int:
        """How many finished runs are in memory only although a folder was given."""
        return len(self._pending)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        except OSError as error:
            if not self._path.is_file():
                raise StoreError(
                    f"cannot write to {self._path.parent} ({error.strerror}); choose another folder"
                ) from None
            self._warn(
                f"{self._path} is read-only ({error.strerror}): finished runs are used, new ones not kept"
            )
            self._connect(f"{self._path.absolute().as_uri()}?mode=ro&immutable=1")
            self._check()
            return
        self._connect(self._path.absolute().as_uri())
        assert self._file is not None
        try:
            self._file.execute("PRAGMA journal_mode = WAL")  # readers never wait for a writer
        except sqlite3.OperationalError:
            pass  # another process is just opening it, or the file system cannot: the default is safe, too
        except sqlite3.DatabaseError as error:
            raise self._unusable(f"is not a run store ({error})") from None
        self._check()

    def _connect(self, uri: str) -> None:
        self._file = sqlite3.connect(uri, uri=True, timeout=_WAIT)

    def _check(self) -> None:
        """Refuses what is not ours, another version's or damaged; makes the table in a new file."""
        assert self._file is not None
        try:
            with self._file:
                application, version, tables = (
                    self._file.execute(query).fetchone()[0]
                    for query in (
                        "PRAGMA application_id",
                        "PRAGMA user_version",
                        "SELECT count(*) FROM sqlite_master",
                    )
                )
                if tables == 0 and application in (0, _APPLICATION):
                    self._file.execute("BEGIN IMMEDIATE")
                    self._file.execute(_CREATE)
                    self._file.execute(f"PRAGMA application_id = {_APPLICATION}")
                    self._file.execute(f"PRAGMA user_version = {SCHEMA}")
                    return
            damage = self._file.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise self._unusable(f"cannot be opened ({error})") from None
        if application != _APPLICATION:
            raise self._unusable("is another program's database")
        if version != SCHEMA:
            raise self._unusable(
                f"was written by another softknee (its version {version}, this one's {SCHEMA})"
            )
        if damage != "ok":
            raise self._unusable(f"is damaged ({damage.splitlines()[0]})")

    def _unusable(self, why: str) -> StoreError:
        self.close()
        return StoreError(
            f"{self._path} {why}; move it away or choose another folder. Nothing in it was changed"
        )

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _outcome(text: str) -> Outcome:
    return Outcome(**{name: _frozen(value) for name, value in json.loads(text).items()})


def _frozen(value: Any) -> Any:
    """Lists as tuples, however deep."""
    if isinstance(value, dict):
        return {name: _frozen(inner) for name, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
