"""The store in PostgreSQL, against a server that the tests start; skipped where none is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compare.test_sharing import (
    check_a_killed_process_is_taken_over,
    check_claims,
    check_no_batch_is_trained_twice,
    check_states,
)
from tests.compare.test_store import OUTCOME, RUN, batch

from softknee.compare.errors import StoreError
from softknee.compare.experiment import compare
from softknee.compare.store import SCHEMA, Store, masked

RUNS = {
    "data": "iris",
    "activations": "relu,tanh",
    "seeds": 6,
    "depth": 1,
    "width": 4,
    "epochs": 1,
    "lr": 0.01,
}


def program(name: str) -> str | None:
    places = [str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", "")]))


class Server:
    """Listens on a socket in its folder alone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.user = folder, "postgres" if os.getuid() == 0 else None  # it refuses to run as root
        if self.user:
            shutil.chown(folder, self.user)
        self.run("initdb", "--no-sync", "--auth=trust", "--username=softknee", "--pgdata", f"{folder}/data")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://softknee:secret@/postgres?host={self.folder}"

    def run(self, name: str, *arguments: str) -> None:
        found = program(name)
        assert found is not None
        subprocess.run(
            [found, *arguments], check=True, user=self.user, cwd=self.folder, timeout=120,
            stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self) -> None:
        options = f"-c listen_addresses='' -c fsync=off -k {self.folder}"
        self.run(
            "pg_ctl", "start", "-w", "-D", f"{self.folder}/data", "-o", options, "-l", f"{self.folder}/log"
        )

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "-m", "immediate", "-D", f"{self.folder}/data")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    pytest.importorskip("psycopg")
    if program("initdb") is None:
        pytest.skip("no PostgreSQL server is installed")
    with tempfile.TemporaryDirectory(prefix="softknee-pg-") as folder:
        found = Server(Path(folder))
        yield found
        found.stop()


def test_a_comparison_continues_from_it(server: Server) -> None:
    first = compare(**RUNS, store=server.url)
    again = compare(**(RUNS | {"activations": "tanh,relu,gelu"}), store=server.url)
    assert (first.trained, again.found, again.trained) == (12, 12, 6)
    assert again.levels[0].of("tanh").scores == first.levels[0].of("tanh").scores
    assert "secret" not in again.command + again.call
    assert "--store 'postgresql://softknee@/postgres" in again.command


def test_what_is_there_stays_and_is_found_digit_by_digit(server: Server) -> None:
    with Store(server.url) as one, Store(server.url) as two:
        one.save(batch("a", "b"))
        two.save({"a": (RUN, RUN_OF_OTHERS)})
    with Store(server.url) as three:
        found = three.find(["a", "c"])
    assert repr(found) == repr({"a": OUTCOME})


RUN_OF_OTHERS = OUTCOME.__class__(**(vars(OUTCOME) | {"test_score": 0.1}))


def test_claims_and_states(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    check_claims(server.url, monkeypatch)
    monkeypatch.undo()
    check_states(server.url, monkeypatch)


@pytest.mark.exhaustive
def test_several_processes(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_no_batch_is_trained_twice(tmp_path, {"store": server.url})
    (tmp_path / "again").mkdir()
    check_a_killed_process_is_taken_over(
        tmp_path / "again", {"store": server.url, "lr": (0.0005, 0.005, 0.02)}, monkeypatch
    )


def test_a_server_that_goes_away_and_comes_back(server: Server) -> None:
    with Store(server.url) as store:
        server.stop()
        store.save(batch("x"))
        assert store.unsaved == 1
        assert "cannot be written" in store.warnings[0]
        assert "secret" not in store.warnings[0]
        assert list(store.find(["x", "y"])) == ["x"]
        server.start()
        store.save(batch("y"))
        assert store.unsaved == 0
    with Store(server.url) as store:
        assert set(store.find(["x", "y"])) == {"x", "y"}


def test_tables_of_another_version_are_refused(server: Server) -> None:
    import psycopg

    Store(server.url).close()
    with psycopg.connect(server.url) as connection:
        connection.execute("UPDATE softknee_version SET version = version + 1")
    with pytest.raises(
        StoreError, match=rf"version {SCHEMA + 1}, this one's {SCHEMA}.*give another database"
    ):
        Store(server.url)
    with psycopg.connect(server.url) as connection:
        connection.execute("UPDATE softknee_version SET version = version - 1")


def test_no_server_there() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match="cannot be used") as caught:
        compare(**RUNS, store="postgresql://softknee:secret@/postgres?host=/nowhere")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://me:se:cret@host/db", "postgresql://me@host/db"),
        ("postgresql://me@host/db?password=secret&x=1", "postgresql://me@host/db?password=***&x=1"),
        ("postgres://host/db", "postgres://host/db"),
    ],
)
def test_passwords_are_not_shown(url: str, expected: str) -> None:
    assert masked(url) == expected
