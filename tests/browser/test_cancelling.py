"""The Terminate button: the run is canceled, and when it is executed again nothing is paid for twice.

The model holds its answers back while the button is clicked, so that every run is canceled in its middle.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.pages import Pages
from tests.journeys.project import Project, ids
from tests.servers.dagster_ui import DagsterUI
from tests.servers.llm import LLMServer

pytestmark = [pytest.mark.slow, pytest.mark.service]

N, IN_FLIGHT, PATIENCE = 300, 8, 180.0
PIPELINES = ("terminated", "forced", "lost")


@pytest.fixture(scope="module")
def server() -> Iterator[LLMServer]:
    with LLMServer(process=True, latency=0.02, text='{"sentiment": "positive"}', max_seconds=3600) as server:
        yield server


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, server: LLMServer) -> Project:
    project = Project(tmp_path_factory.mktemp("canceled") / "project")
    project.environ = {"OPENAI_API_KEY": "k"}
    project.reviews({f"r{number}": f"text {number}" for number in range(N)})
    for name in PIPELINES:
        project.write(
            f"prompts/{name}.txt", f"For {name}. Review: {{{{ input.text }}}}"
        )  # no answer serves two
        project.pipeline(
            name,
            transform={
                "prompt": f"prompts/{name}.txt",
                "model": "openai/any",
                "api_base": server.base_url,
                "limits": {"in_flight": IN_FLIGHT},
            },
        )
    return project


@pytest.fixture(scope="module")
def ui(project: Project) -> Iterator[DagsterUI]:
    with DagsterUI(project.root, project.env) as ui:
        yield ui


@pytest.fixture
def pages(page: Page, ui: DagsterUI) -> Pages:
    return Pages(page, ui)


@pytest.fixture(autouse=True)
def answering(server: LLMServer) -> Iterator[None]:
    yield
    server.change(hold=False)


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.02)


def until_half(server: LLMServer, paid: int) -> None:
    """Until about half of the records are paid for, and every further answer waits."""
    until(lambda: server.stats()["paid"] - paid >= N / 3, "a third was paid")
    server.change(hold=True)
    until(lambda: server.stats()["in_flight"] >= IN_FLIGHT, "calls were in flight")
    assert server.stats()["paid"] - paid < N - IN_FLIGHT, "it had nearly ended before it was held"


def asked(server: LLMServer, before: dict[str, Any]) -> int:
    """Every question that reached the model, also those whose answer nobody was there to take."""
    now = server.stats()
    assert now["repeated"] - before["repeated"] <= now["requests"] - before["requests"] - N
    return int(now["requests"] - before["requests"])


def check_complete(project: Project, name: str) -> None:
    assert ids(project.root / f"out/{name}.parquet", "id") == [f"r{number}" for number in range(N)]


def test_a_terminated_run_is_canceled_and_executed_again_pays_for_no_answer_twice(
    pages: Pages, project: Project, server: LLMServer
) -> None:
    before = server.stats()
    pages.group("terminated")
    run = pages.materialize_all()
    until_half(server, before["paid"])
    pages.terminate()
    pages.ui.wait_for(run, "CANCELING")
    server.change(hold=False)
    pages.ends("Canceled")
    assert server.stats()["paid"] - before["paid"] < N
    assert not (project.root / "out/terminated.parquet").exists()

    pages.run(run)
    pages.execute_again()
    pages.ends("Success")
    assert asked(server, before) == N
    check_complete(project, "terminated")


def test_a_run_that_is_forced_to_end_keeps_what_is_in_flight_all_the_same(
    pages: Pages, project: Project, server: LLMServer
) -> None:
    before = server.stats()
    pages.group("forced")
    run = pages.materialize_all()
    until_half(server, before["paid"])
    pages.terminate(force=True)
    pages.ends("Canceled")  # at once; its process is still draining
    server.change(hold=False)
    until(lambda: not Path(f"/proc/{pages.ui.worker(run)}").exists(), "the process of the run was gone")
    pages.run(run)
    pages.execute_again()
    pages.ends("Success")
    assert asked(server, before) == N
    check_complete(project, "forced")


def test_a_run_whose_process_is_killed_fails_and_only_what_was_in_flight_is_paid_again(
    pages: Pages, project: Project, server: LLMServer
) -> None:
    before = server.stats()
    pages.group("lost")
    run = pages.materialize_all()
    until_half(server, before["paid"])
    os.kill(pages.ui.worker(run), signal.SIGKILL)
    server.change(hold=False)
    pages.ends("Failure")
    pages.run(run)
    pages.execute_again()
    pages.ends("Success")
    assert N <= asked(server, before) <= N + IN_FLIGHT
    check_complete(project, "lost")
