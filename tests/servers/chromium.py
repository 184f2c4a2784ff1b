"""A real Chromium, headless and with a profile of its own, driven by playwright.

Chromium is the system's: playwright's own download is not used. Where it is missing the tests that need it are skipped,
with the reason; in CI that is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

__all__ = ["chromium"]

_FLAGS = (
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)


@contextmanager
def chromium(profile: str, *, width: int = 1500, height: int = 950) -> Iterator[BrowserContext]:
    """``profile``: an empty folder. What is waited for is waited for as long as a slow machine needs."""
    from playwright.sync_api import expect, sync_playwright

    patience = 90_000
    expect.set_options(timeout=patience)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=binary(),
            headless=True,
            args=list(_FLAGS),
            viewport={"width": width, "height": height},
            timezone_id="UTC",
            locale="en-US",
        )
        context.set_default_timeout(patience)
        try:
            yield context
        finally:
            context.close()


def binary() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        import pytest

        told = pytest.fail if os.environ.get("CI") else pytest.skip
        told("chromium is not installed")
    return found
