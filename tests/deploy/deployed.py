"""What deploy/docker-compose.yaml starts, as plain processes: code server, webserver and daemon over one Postgres server.

The instance is deploy/docker/dagster.yaml with Dagster's own launcher, since there is no Docker: a process a run
instead of a container.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

from tests.servers.dagster_ui import free_port

__all__ = ["DEPLOY", "Deployed", "pg_environ", "until"]

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PATIENCE = 240.0
BIN = Path(sys.executable).parent
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


def pg_environ(url: str) -> dict[str, str]:
    """As the compose file names them: the password in one variable, and in no URL."""
    parts = urlsplit(url)
    place = f"postgresql://{parts.username}@{parts.hostname}:{parts.port}{parts.path}?schema=memory"
    return {
        "PGHOST": str(parts.hostname),
        "PGPORT": str(parts.port),
        "PGUSER": str(parts.username),
        "PGPASSWORD": str(parts.password),
        "PGDATABASE": parts.path.strip("/"),
        "LOOM_LEDGER": place,
        "LOOM_ANSWERS": place,
    }


def until(ask: Callable[[], Any], what: str = "no answer") -> Any:
    """What ``ask`` gives once it gives something."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if found := ask():
                return found
        except (urllib.error.URLError, ConnectionError):
            pass
        assert time.monotonic() < end, what
        time.sleep(0.2)


def _die_with_the_tests() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Deployed:
    """A context manager. ``environ``: the whole environment of its processes."""

    def __init__(
        self, project: Path, home: Path, environ: Mapping[str, str], *, kind: str = "docker"
    ) -> None:
        self.project, self.home = project, home
        self.code_port, self.port = free_port(), free_port()
        self.environ = {**environ, "DAGSTER_HOME": str(home)}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        home.mkdir()
        instance = yaml.safe_load((DEPLOY / kind / "dagster.yaml").read_text())
        if kind == "docker":
            del instance["run_launcher"]
            instance["compute_logs"]["config"]["base_dir"] = str(home / "logs")
        (home / "dagster.yaml").write_text(yaml.safe_dump(instance))
        workspace = yaml.safe_load((DEPLOY / kind / "workspace.yaml").read_text())
        workspace["load_from"][0]["grpc_server"] |= {"host": "127.0.0.1", "port": self.code_port}
        (home / "workspace.yaml").write_text(yaml.safe_dump(workspace))

    def commands(self) -> dict[str, list[str]]:
        """By service, the commands of the compose file with this machine's ports and folders."""
        services = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())["services"]
        here = {
            "0.0.0.0": "127.0.0.1",
            "4000": str(self.code_port),
            "3000": str(self.port),
            "/app/definitions.py": str(self.project / "definitions.py"),
            "/opt/dagster/docker/workspace.yaml": str(self.home / "workspace.yaml"),
        }
        wanted = ("code", "webserver", "daemon")
        return {name: [here.get(word, word) for word in services[name]["command"]] for name in wanted}

    def start(self, service: str, command: list[str] | None = None, **environ: str) -> None:
        program, *args = command or self.commands()[service]
        with (self.home / f"{service}.log").open("ab") as log:
            self._running[service] = subprocess.Popen(
                [str(BIN / program), *args],
                cwd=self.project,
                env=self.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_the_tests,
            )

    def stop(self, service: str, how: int = signal.SIGTERM) -> None:
        process = self._running.pop(service)
        if process.poll() is None:
            os.killpg(process.pid, how)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def ask(self, query: str, **variables: Any) -> Any:
        """The `data` of GraphQL's answer. Raises RuntimeError for an error of the query."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            answer = json.loads(reply.read())
        if answer.get("errors"):
            raise RuntimeError(json.dumps(answer["errors"])[:2000])
        return answer["data"]

    def loaded(self) -> bool:
        """Whether the webserver has the code location."""
        found = self.ask("{repositoriesOrError {... on RepositoryConnection {nodes {name location {name}}}}}")
        return [node["location"]["name"] for node in found["repositoriesOrError"]["nodes"]] == ["loom"]

    def backfill(self, *keys: str, assets: list[list[str]]) -> str:
        """Launch a backfill as the UI does; its id."""
        launched = self.ask(
            """mutation B($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename
            ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            p={
                "partitionNames": list(keys),
                "assetSelection": [{"path": path} for path in assets],
                "fromFailure": False,
                "tags": [],
            },
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def reload(self) -> None:
        """The button of the code location. Raises AssertionError with what went wrong."""
        found = self.ask(
            """mutation { reloadRepositoryLocation(repositoryLocationName: "loom") { __typename ... on WorkspaceLocationEntry {
            locationOrLoadError { __typename ... on PythonError { message } } } } }"""
        )["reloadRepositoryLocation"]
        assert found["locationOrLoadError"]["__typename"] == "RepositoryLocation", found

    def made_assets(self) -> list[list[str]]:
        """The assets that runs make, as the page of a backfill offers them."""
        found = self.ask("{assetNodes {assetKey {path} isMaterializable}}")["assetNodes"]
        return sorted(node["assetKey"]["path"] for node in found if node["isMaterializable"])

    def runs(self) -> list[dict[str, Any]]:
        found = self.ask("{runsOrError {... on Runs {results {runId status tags {key value}}}}}")
        return list(found["runsOrError"]["results"])

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.home.rglob("*.log")))

    def __enter__(self) -> Self:
        self.start("code")
        self.start("webserver")
        self.start("daemon")
        try:
            until(self.loaded, "the code location is not there")
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        for service in reversed(list(self._running)):  # the daemon before what it asks
            self.stop(service)

    def __exit__(self, *_: object) -> None:
        self.close()
