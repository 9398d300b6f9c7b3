"""Finished runs, so that none is done twice and none is lost: in `runs.sqlite` in a folder, or in PostgreSQL.

One row a run, under a key made of everything that defines it. A batch of runs is one transaction: whatever ends
the process, the store holds all of a batch or nothing of it; and beside that how far a batch has come that is being
trained. Several processes may share a store: each claims the runs that it is about to train. A claim ends with its
run, with the process that made it, where that can be seen from here, or when nobody has renewed it for a while.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import re
import sqlite3
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
SCHEMA = 3
_APPLICATION = 0x6B6E6565  # "knee": marks a file as ours
_WAIT = 60.0  # seconds for another process to finish its transaction
_LEASE, _BEAT = 60.0, 15.0  # seconds that a claim lasts; between two renewals
_FORGET = 7 * 86400.0  # seconds after which a batch that nobody has gone on with must start anew

Row = tuple[str, str, str, str]  # key, run, outcome, when it was finished


class WriteError(Exception):
    """A store could not be written, and may be later."""


class Store:
    """Outcomes by key: in a folder, at a URL of PostgreSQL, or (`None`) in memory only.

    When it can no longer be written (disk full, taken away) the outcomes stay in memory, `warnings` says so, and every
    later save tries again: a comparison never fails because of its store.
    """

    def __init__(self, place: str | Path | None) -> None:
        self.warnings: list[str] = []
        self._memory: dict[str, Outcome] = {}
        self._pending: dict[str, Run] = {}
        self._table: _Table | None = None
        self._owner = f"{_machine()} {os.getpid()} {uuid.uuid4().hex[:8]}"
        self._beaten = -math.inf
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

    def claim(self, keys: Collection[str]) -> set[str]:
        """Those of the runs that this store may train, and nobody else while it `beat`s: the others are being trained."""
        if self._table is not None:
            with contextlib.suppress(WriteError):  # perhaps twice is better than not at all
                return self._table.claim(keys, self._owner)
        return set(keys)

    def beat(self) -> None:
        """Renews the claims; to be called again and again."""
        if self._table is not None and time.monotonic() > self._beaten + _BEAT:
            self._beaten = time.monotonic()
            with contextlib.suppress(WriteError):
                self._table.renew(self._owner)

    def keep(self, keys: Iterable[str], state: bytes) -> None:
        """How far the training of these runs has come, in place of what was kept before."""
        if self._table is not None:
            try:
                self._table.keep(_name(keys), state)
            except WriteError as error:
                self._warn(error)

    def state(self, keys: Iterable[str]) -> bytes | None:
        """How far the training of these runs had come."""
        return None if self._table is None else self._table.state(_name(keys))

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
            self._table.finish(rows, _name(outcomes), self._owner)
            self._pending.clear()
        except WriteError as error:
            self._warn(error)

    def _warn(self, error: WriteError) -> None:
        assert self._table is not None
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
            with contextlib.suppress(WriteError):
                self._table.release(self._owner)
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


class _Table(ABC):
    """Rows that outlive the process; `place` is what the user calls it.

    The statements are the same for every database, with `?` for a value; in braces is what each spells in its way.
    """

    place: str
    _failures: type[Exception]  # of the driver
    _away: tuple[type[Exception], ...] = ()  # those that say that the database cannot be reached
    _now: str  # in seconds, by a clock that all who share the database read
    _bytes: str
    _prefix = ""  # of the tables

    def select(self, keys: Sequence[str]) -> dict[str, str]:
        """The outcomes that are there. StoreError: it cannot be read."""
        found: dict[str, str] = {}
        for some in (keys[i : i + 500] for i in range(0, len(keys), 500)):
            found |= dict(self._ask("SELECT key, outcome FROM {runs} WHERE key IN ({marks})", some))
        return found

    def state(self, name: str) -> bytes | None:
        found = self._ask("SELECT state FROM {states} WHERE name = ?", (name,))
        return bytes(found[0][0]) if found else None

    def finish(self, rows: Sequence[Row], name: str, owner: str) -> None:
        """Adds the rows, but none whose key is there, and ends the claims on them; the state is dropped.
        WriteError, here and below: nothing was changed."""
        with self._writing():
            for row in rows:
                self._execute("INSERT INTO {runs} VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
                self._execute("DELETE FROM {claims} WHERE key = ? AND owner = ?", (row[0], owner))
            self._execute("DELETE FROM {states} WHERE name = ?", (name,))

    def claim(self, keys: Collection[str], owner: str) -> set[str]:
        """Those of the keys that are the owner's now."""
        with self._writing():
            self._execute("DELETE FROM {states} WHERE kept < {now} - ?", (_FORGET,))
            self._execute("DELETE FROM {claims} WHERE until < {now}")
            for (other,) in self._execute("SELECT DISTINCT owner FROM {claims}"):
                if not _alive(other):
                    self._execute("DELETE FROM {claims} WHERE owner = ?", (other,))
            for key in keys:
                new = (key, owner, _LEASE)
                self._execute("INSERT INTO {claims} VALUES (?, ?, {now} + ?) ON CONFLICT DO NOTHING", new)
            held = self._execute("SELECT key FROM {claims} WHERE owner = ?", (owner,))
        return {key for (key,) in held}.intersection(keys)

    def renew(self, owner: str) -> None:
        with self._writing():
            self._execute("UPDATE {claims} SET until = {now} + ? WHERE owner = ?", (_LEASE, owner))

    def release(self, owner: str) -> None:
        with self._writing():
            self._execute("DELETE FROM {claims} WHERE owner = ?", (owner,))

    def keep(self, name: str, state: bytes) -> None:
        with self._writing():
            self._execute("DELETE FROM {states} WHERE name = ?", (name,))
            self._execute("INSERT INTO {states} VALUES (?, ?, {now})", (name, state))

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _execute(self, statement: str, values: Sequence[Any] = ()) -> list[Any]: ...

    @abstractmethod
    def _transaction(self) -> contextlib.AbstractContextManager[None]:
        """One at a time, of all processes."""

    def _spelt(self, statement: str, values: Sequence[Any]) -> str:
        tables = {name: self._prefix + name for name in ("runs", "claims", "states", "version")}
        return statement.format(
            now=self._now, bytes=self._bytes, marks=", ".join("?" * len(values)), **tables
        )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._transaction():
                yield
        except self._failures as error:
            raise WriteError(_line(error)) from None

    def _ask(self, statement: str, values: Sequence[Any]) -> list[Any]:
        try:
            return self._execute(statement, values)
        except self._away:
            return []  # what cannot be found is trained
        except self._failures as error:
            raise _unusable(self, f"cannot be read ({_line(error)})") from None

    def _make(self) -> None:
        for table in (
            "{runs} (key TEXT PRIMARY KEY, run TEXT NOT NULL, outcome TEXT NOT NULL, finished TEXT NOT NULL)",
            "{claims} (key TEXT PRIMARY KEY, owner TEXT NOT NULL, until DOUBLE PRECISION NOT NULL)",
            "{states} (name TEXT PRIMARY KEY, state {bytes} NOT NULL, kept DOUBLE PRECISION NOT NULL)",
        ):
            self._execute("CREATE TABLE IF NOT EXISTS " + table)


class _Sqlite(_Table):
    _failures = sqlite3.DatabaseError
    _now, _bytes = "(julianday('now') - 2440587.5) * 86400", "BLOB"

    def __init__(self, folder: Path, warnings: list[str]) -> None:
        self._path = folder / FILE
        self.place = str(self._path)
        self._open(warnings)

    def close(self) -> None:
        self._file.close()

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._file.execute(self._spelt(statement, values), values).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._file.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._file.commit()
        except BaseException:
            self._file.rollback()
            raise

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
        self._check()
        # readers never wait for a writer; where the file system cannot do it, the default is safe, too
        with contextlib.suppress(sqlite3.OperationalError):
            self._file.execute("PRAGMA journal_mode = WAL")

    def _connect(self, uri: str) -> None:
        self._file = sqlite3.connect(uri, uri=True, timeout=_WAIT, isolation_level=None)

    def _check(self) -> None:
        """Refuses what is not ours, another version's or damaged; makes the tables in a new file."""
        try:
            application, version, tables = self._header()
            if tables == 0 and application in (0, _APPLICATION):
                self._file.execute("PRAGMA auto_vacuum = FULL")  # dropped states leave no room behind
                with self._transaction():
                    self._make()
                    self._file.execute(f"PRAGMA application_id = {_APPLICATION}")
                    self._file.execute(f"PRAGMA user_version = {SCHEMA}")
                application, version, tables = self._header()
            damage = self._file.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError as error:
            raise _unusable(self, f"cannot be opened ({error})") from None
        except sqlite3.DatabaseError as error:
            raise _unusable(self, f"is not a run store ({error})") from None
        if application != _APPLICATION:
            raise _unusable(self, "is another program's database")
        if version != SCHEMA:
            raise _unusable(self, _of_version(version))
        if damage != "ok":
            raise _unusable(self, f"is damaged ({damage.splitlines()[0]})")

    def _header(self) -> tuple[int, int, int]:
        """Whose file it is, of which version, and how many tables it has: at one time, others may be making it."""
        queries = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        self._file.execute("BEGIN")
        try:
            application, version, tables = (self._file.execute(query).fetchone()[0] for query in queries)
        finally:
            self._file.rollback()
        return application, version, tables


class _Postgres(_Table):
    """The tables of a database whose names begin with softknee_; a lost connection is made again."""

    _prefix = "softknee_"
    _now, _bytes = "extract(epoch FROM clock_timestamp())", "BYTEA"

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError:
            raise StoreError(f"{masked(url)} needs psycopg: pip install 'softknee[postgres]'") from None
        self._psycopg, self._url, self.place = psycopg, url, masked(url)
        self._failures, self._away = psycopg.Error, (psycopg.OperationalError,)
        try:
            version = self._made()
        except psycopg.Error as error:
            raise StoreError(f"{self.place} cannot be used ({_line(error)})") from None
        if version != SCHEMA:
            raise _unusable(self, _of_version(version))

    def close(self) -> None:
        self._connection.close()

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        found = self._connected().execute(self._spelt(statement, values).replace("?", "%s"), values)
        return found.fetchall() if found.description else []

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._connected().transaction():
            self._execute("SELECT pg_advisory_xact_lock(?)", (_APPLICATION,))
            yield

    def _connected(self) -> Any:
        if not hasattr(self, "_connection") or self._connection.closed:
            self._connection = self._psycopg.connect(self._url, autocommit=True, connect_timeout=10)
        return self._connection

    def _made(self) -> int:
        """The version of the tables, made where they are not there."""
        with self._transaction():
            self._execute("CREATE TABLE IF NOT EXISTS {version} (version INTEGER NOT NULL)")
            if found := self._execute("SELECT version FROM {version}"):
                return int(found[0][0])
            self._make()
            self._execute("INSERT INTO {version} VALUES (?)", (SCHEMA,))
            return SCHEMA


def _name(keys: Iterable[str]) -> str:
    """Of the runs together."""
    return hashlib.sha256(" ".join(sorted(keys)).encode()).hexdigest()


def _machine() -> str:
    """What a process number means something in: this start of this machine, this name space of its processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return platform.node().replace(" ", "-")


def _alive(owner: str) -> bool:
    """Whether the process that made a claim may be there still."""
    machine, number, _ = owner.split()
    if machine != _machine() or os.name == "nt":  # there, a look at a process would end it
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _of_version(version: int) -> str:
    return f"was written by another softknee (its version {version}, this one's {SCHEMA})"


def _unusable(table: _Table, why: str) -> StoreError:
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
