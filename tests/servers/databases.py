"""Real database servers for tests: each started in a folder of its own, on 127.0.0.1, and gone with the tests.

A server that is not installed skips the tests that need it, with the reason; in CI that is a failure.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import pytest

__all__ = ["MariaDb", "Postgres", "Redis", "Server"]

_PATIENCE = 60.0
_IN_CI = bool(os.environ.get("CI"))


def _binary(name: str, *folders: str) -> str:
    """The program called ``name``, also where a system keeps servers."""
    found = shutil.which(name)
    for folder in () if found else folders:
        for path in sorted(Path("/").glob(f"{folder[1:]}/{name}"), reverse=True):
            found = found or str(path)
    if found is None:
        told = pytest.fail if _IN_CI else pytest.skip
        told(f"{name} is not installed")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_the_tests() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Server:
    """One process. ``stop`` is orderly, ``kill`` is not; ``start`` after either goes on with the same data."""

    user: str | None = None  # who runs it when the tests are root's

    def __init__(self) -> None:
        self.port = _free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="loom-server-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.owner = self.user if os.getuid() == 0 else None
        if self.owner is not None:
            home = pwd.getpwnam(self.owner)
            os.chown(self.folder, home.pw_uid, home.pw_gid)

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, user=self.owner, preexec_fn=_die_with_the_tests
            )
        end = time.monotonic() + _PATIENCE
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.folder / "server.log").read_text(errors="replace")[-4000:])
            time.sleep(0.05)

    def stop(self, how: int = signal.SIGTERM, patience: float = 30.0) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(patience)
            self._process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def close(self) -> None:
        """Nobody needs its data any more. Postgres would leave its shared memory behind, were it killed at once."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.stop(signal.SIGQUIT if isinstance(self, Postgres) else signal.SIGKILL, patience=5.0)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError


class Postgres(Server):
    """The superuser is ``loom`` with the password ``pg-secret-word``; ``database()`` makes one and gives its URL."""

    user = "postgres"
    password = "pg-secret-word"

    def __init__(self) -> None:
        folders = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
        self._initdb, self._postgres = _binary("initdb", *folders), _binary("postgres", *folders)
        super().__init__()
        word = self.folder / "password"
        word.write_text(self.password)
        self.data = self.folder / "data"
        subprocess.run(
            [self._initdb, "-D", self.data, "-U", "loom", "-A", "scram-sha-256", "--pwfile", word, "-E", "UTF8", "--no-sync"],
            check=True, capture_output=True, user=self.owner, cwd=self.folder,
        )  # fmt: skip

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "max_connections": "50",
        }
        return [
            self._postgres,
            "-D",
            str(self.data),
            *(part for k, v in options.items() for part in ("-c", f"{k}={v}")),
        ]

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://loom:{self.password}@127.0.0.1:{self.port}/{database}"

    def answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(self.url()).close()
        except psycopg2.OperationalError:
            return False
        return True

    def database(self) -> str:
        import psycopg2

        name = f"t{uuid.uuid4().hex[:12]}"
        connection = psycopg2.connect(self.url())
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
        connection.close()
        return self.url(name)


class MariaDb(Server):
    """The user is ``loom`` with the password ``my-secret-word``; ``database()`` makes one and gives its URL."""

    user = "mysql"
    password = "my-secret-word"

    def __init__(self) -> None:
        self._server = _binary("mariadbd", "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/opt/mariadb/bin")
        install = _binary("mariadb-install-db", "/usr/bin", "/opt/homebrew/opt/mariadb/bin")
        super().__init__()
        subprocess.run(
            [install, "--no-defaults", f"--datadir={self.folder}/data", "--auth-root-authentication-method=normal",
             "--skip-test-db", *([f"--user={self.owner}"] if self.owner else [])],
            check=True, capture_output=True, user=self.owner, cwd=self.folder,
        )  # fmt: skip
        self._made = False

    def start(self) -> None:
        (self.folder / "s.pid").unlink(missing_ok=True)
        super().start()

    def command(self) -> list[str]:
        return [
            self._server, "--no-defaults", f"--datadir={self.folder}/data", f"--port={self.port}",
            "--bind-address=127.0.0.1", f"--socket={self.folder}/s.sock", f"--pid-file={self.folder}/s.pid",
            "--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=64M", "--skip-log-bin",
        ]  # fmt: skip

    def url(self, database: str = "") -> str:
        return f"mysql://loom:{self.password}@127.0.0.1:{self.port}/{database}"

    def answers(self) -> bool:
        import pymysql

        if not (
            self.folder / "s.pid"
        ).exists():  # a socket that nobody listens to would be left open by the client
            return False
        try:
            connection = pymysql.connect(unix_socket=f"{self.folder}/s.sock", user="root")
        except pymysql.err.OperationalError:
            return False
        if not self._made:
            cursor = connection.cursor()
            cursor.execute(f"CREATE USER loom@'127.0.0.1' IDENTIFIED BY '{self.password}'")
            cursor.execute("GRANT ALL ON *.* TO loom@'127.0.0.1'")
            self._made = True
        connection.close()
        return True

    def database(self) -> str:
        import pymysql

        name = f"t{uuid.uuid4().hex[:12]}"
        connection = pymysql.connect(unix_socket=f"{self.folder}/s.sock", user="root")
        connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        connection.close()
        return self.url(name)


class Redis(Server):
    """No password; what was written is on disk before it is acknowledged."""

    user = "redis"

    def __init__(self) -> None:
        self._server = _binary("redis-server", "/usr/bin", "/opt/homebrew/bin")
        super().__init__()
        if self.owner is None or self.owner not in {entry.pw_name for entry in pwd.getpwall()}:
            self.owner = None

    def command(self) -> list[str]:
        return [self._server, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder),
                "--appendonly", "yes", "--appendfsync", "always", "--save", ""]  # fmt: skip

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def answers(self) -> bool:
        import redis

        with redis.Redis(port=self.port, socket_connect_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False
