"""Finished runs, so that none is done twice and none is lost: in `runs.sqlite` in a folder, or in PostgreSQL.

One row a run, under a key made of everything that defines it. A batch of runs is one transaction: whatever ends
the process, the store holds all of a batch or nothing of it. Several processes may share a store.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from softknee.compare.engine import Outcome
from softknee.compare.errors import StoreError
from softknee.compare.protocol import Run

if TYPE_CHECKING:
    from typing_extensions import Self

FILE = "runs.sqlite"
SCHEMA = 2
_APPLICATION = 0x6B6E6565  # "knee": marks a file as ours
_WAIT = 60.0  # seconds for another process to finish its transaction

Row = tuple[str, str, str, str]  # key, run, outcome, when it was finished

_CREATE = "(key TEXT PRIMARY KEY, run TEXT NOT NULL, outcome TEXT NOT NULL, finished TEXT NOT NULL)"


class WriteError(Exception):
    """A store could not be written, and may be later."""


class Table(Protocol):
    """Rows that outlive the process; `place` is what the user calls it."""

    place: str

    def select(self, keys: list[str]) -> dict[str, str]:
        """The outcomes that are there. StoreError: it cannot be read."""

    def insert(self, rows: list[Row]) -> None:
        """Adds the rows in one transaction; a key that is there stays as it is. WriteError: nothing was added."""

    def close(self) -> None: ...


class Store:
    """Outcomes by key: in a folder, at a URL of PostgreSQL, or (`None`) in memory only.

    When it can no longer be written (disk full, taken away) the outcomes stay in memory, `warnings` says so, and every
    later save tries again: a comparison never fails because of its store.
    """

    def __init__(self, place: str | Path | None) -> None:
        self.warnings: list[str] = []
        self._memory: dict[str, Outcome] = {}
        self._pending: dict[str, Run] = {}
        self._table: Table | None = None
        if place is not None:
            self._table = _Postgres(str(place)) if is_url(place) else _Sqlite(Path(place), self.warnings)

    def find(self, keys: Iterable[str]) -> dict[str, Outcome]:
        """The outcomes that are there, whoever wrote them."""
        found = {key: self._memory[key] for key in keys if key in self._memory}
        if self._table is not None and (asked := [key for key in keys if key not in found]):
            for key, text in self._table.select(asked).items():
                try:
                    found[key] = _outcome(text)
                except (ValueError, TypeError) as error:
                    raise _unusable(self._table, f"cannot be read ({error})") from None
        return found

    def save(self, outcomes: Mapping[str, tuple[Run, Outcome]]) -> None:
        """Adds a batch in one transaction; a run that another process has finished meanwhile stays as it is."""
        self._memory |= {key: outcome for key, (_, outcome) in outcomes.items()}
        if self._table is None:
            return
        self._pending |= {key: run for key, (run, _) in outcomes.items()}
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        rows = [
            (key, json.dumps(asdict(run)), json.dumps(asdict(self._memory[key])), now)
            for key, run in self._pending.items()
        ]
        try:
            self._table.insert(rows)
            self._pending.clear()
        except WriteError as error:
            text = f"{self._table.place} cannot be written ({error}): runs stay in memory, each batch tries again"
            if text not in self.warnings:
                self.warnings.append(text)

    @property
    def place(self) -> str | None:
        """Where outcomes are written, if they are."""
        return self._table.place if self._table is not None and not self._pending else None

    @property
    def unsaved(self) -> int:
        """How many finished runs are in memory only although a place was given."""
        return len(self._pending)

    def close(self) -> None:
        if self._table is not None:
            self._table.close()
            self._table = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_url(place: str | Path) -> bool:
    return isinstance(place, str) and place.startswith(("postgres://", "postgresql://"))


def masked(place: str) -> str:
    """A URL without its password."""
    return re.sub(
        r"(?<=://)([^:/@]*):[^@/]*@", r"\1@", re.sub(r"(?<=[?&])password=[^&]*", "password=***", place)
    )


class _Sqlite:
    def __init__(self, folder: Path, warnings: list[str]) -> None:
        self._path = folder / FILE
        self.place = str(self._path)
        self._open(warnings)

    def select(self, keys: list[str]) -> dict[str, str]:
        found = {}
        try:
            for key in keys:
                row = self._file.execute("SELECT outcome FROM runs WHERE key = ?", (key,)).fetchone()
                if row:
                    found[key] = row[0]
        except sqlite3.DatabaseError as error:
            raise _unusable(self, f"cannot be read ({error})") from None
        return found

    def insert(self, rows: list[Row]) -> None:
        try:
            with self._file:
                self._file.executemany("INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?)", rows)
        except sqlite3.DatabaseError as error:
            raise WriteError(error) from None

    def close(self) -> None:
        self._file.close()

    def _open(self, warnings: list[str]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        except OSError as error:
            if not self._path.is_file():
                raise StoreError(
                    f"cannot write to {self._path.parent} ({error.strerror}); choose another folder"
                ) from None
            warnings.append(
                f"{self._path} is read-only ({error.strerror}): finished runs are used, new ones not kept"
            )
            self._connect(f"{self._path.absolute().as_uri()}?mode=ro&immutable=1")
            self._check()
            return
        self._connect(self._path.absolute().as_uri())
        try:
            self._file.execute("PRAGMA journal_mode = WAL")  # readers never wait for a writer
        except sqlite3.OperationalError:
            pass  # another process is just opening it, or the file system cannot: the default is safe, too
        except sqlite3.DatabaseError as error:
            raise _unusable(self, f"is not a run store ({error})") from None
        self._check()

    def _connect(self, uri: str) -> None:
        self._file = sqlite3.connect(uri, uri=True, timeout=_WAIT)

    def _check(self) -> None:
        """Refuses what is not ours, another version's or damaged; makes the table in a new file."""
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
                    self._file.execute(f"CREATE TABLE IF NOT EXISTS runs {_CREATE} WITHOUT ROWID")
                    self._file.execute(f"PRAGMA application_id = {_APPLICATION}")
                    self._file.execute(f"PRAGMA user_version = {SCHEMA}")
                    return
            damage = self._file.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise _unusable(self, f"cannot be opened ({error})") from None
        if application != _APPLICATION:
            raise _unusable(self, "is another program's database")
        if version != SCHEMA:
            raise _unusable(self, _of_version(version))
        if damage != "ok":
            raise _unusable(self, f"is damaged ({damage.splitlines()[0]})")


class _Postgres:
    """The tables `softknee_runs` and `softknee_version` of a database; a lost connection is made again."""

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError:
            raise StoreError(f"{masked(url)} needs psycopg: pip install 'softknee[postgres]'") from None
        self._psycopg, self._url, self.place = psycopg, url, masked(url)
        try:
            version = self._made()
        except psycopg.Error as error:
            raise StoreError(f"{self.place} cannot be used ({_line(error)})") from None
        if version != SCHEMA:
            raise _unusable(self, _of_version(version))

    def select(self, keys: list[str]) -> dict[str, str]:
        try:
            query = "SELECT key, outcome FROM softknee_runs WHERE key = ANY(%s)"
            return dict(self._connected().execute(query, (keys,)).fetchall())
        except self._psycopg.OperationalError:
            return {}  # away: what cannot be found is trained
        except self._psycopg.Error as error:
            raise _unusable(self, f"cannot be read ({_line(error)})") from None

    def insert(self, rows: list[Row]) -> None:
        try:
            connection = self._connected()
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO softknee_runs VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", rows
                )
        except self._psycopg.Error as error:
            raise WriteError(_line(error)) from None

    def close(self) -> None:
        self._connection.close()

    def _connected(self) -> Any:
        if not hasattr(self, "_connection") or self._connection.closed:
            self._connection = self._psycopg.connect(self._url, autocommit=True, connect_timeout=10)
        return self._connection

    def _made(self) -> int:
        """The version of the tables, made where they are not there."""
        execute = self._connected().execute
        with self._connection.transaction():
            execute("SELECT pg_advisory_xact_lock(%s)", (_APPLICATION,))  # one at a time makes them
            execute(f"CREATE TABLE IF NOT EXISTS softknee_runs {_CREATE}")
            execute("CREATE TABLE IF NOT EXISTS softknee_version (version INTEGER NOT NULL)")
            found = execute("SELECT version FROM softknee_version").fetchone()
            if found is None:
                execute("INSERT INTO softknee_version VALUES (%s)", (SCHEMA,))
            return SCHEMA if found is None else int(found[0])


def _of_version(version: int) -> str:
    return f"was written by another softknee (its version {version}, this one's {SCHEMA})"


def _unusable(table: Table, why: str) -> StoreError:
    table.close()
    remedy = "give another database" if is_url(table.place) else "move it away or choose another folder"
    return StoreError(f"{table.place} {why}; {remedy}. Nothing in it was changed")


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _outcome(text: str) -> Outcome:
    return Outcome(**{name: _frozen(value) for name, value in json.loads(text).items()})


def _frozen(value: Any) -> Any:
    """Lists as tuples, however deep."""
    if isinstance(value, dict):
        return {name: _frozen(inner) for name, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
