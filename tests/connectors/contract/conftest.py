from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.connectors.contract.cases import CASES, Bench


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test of the contract once for every connector that it is about: those that have what its marker
    ``needs`` names."""
    if "bench" not in metafunc.fixturenames:
        return
    wanted = [word for mark in metafunc.definition.iter_markers("needs") for word in mark.args]
    fitting = [case for case in CASES if all(getattr(case, word) for word in wanted)]
    marked = [pytest.param(c, id=str(c), marks=[pytest.mark.service] if c.server else []) for c in fitting]
    metafunc.parametrize("bench", marked, indirect=True)


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return request.param.bench(request, tmp_path)


class _SqliteFile:
    """A file, named like a server so that it is asked for like one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def database(self) -> str:
        return f"sqlite:///{self.folder}/contract.db"


@pytest.fixture
def sqlite_file(tmp_path: Path) -> _SqliteFile:
    return _SqliteFile(tmp_path)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Requests are no news."""


class _Web:
    """A folder, served."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[_Web]:
    served = _Web(tmp_path / "served")
    yield served
    served.close()
