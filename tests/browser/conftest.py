"""A project, Dagster's UI on it and a browser in front of it, all real; a picture of the page when a test fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.servers.chromium import chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    with chromium(str(tmp_path_factory.mktemp("profile"))) as context:
        yield context


@pytest.fixture
def page(browser: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    if getattr(request.node, "failed", False):
        picture = Path(request.config.cache.mkdir("browser")) / f"{request.node.name}.png"
        page.screenshot(path=picture)
        request.node.add_report_section(
            "teardown", "browser", f"{page.url}\nthe page when it failed: {picture}"
        )
    page.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    report = yield
    if report.when == "call":
        item.failed = report.failed  # type: ignore[attr-defined]
    return report
