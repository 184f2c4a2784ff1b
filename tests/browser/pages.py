"""The pages of Dagster's UI as a person uses them: what is clicked, by its words, and where one then is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from playwright.sync_api import Locator, Page, expect

from tests.servers.dagster_ui import DagsterUI

__all__ = ["Pages", "drawn"]

_DRAWN = """canvas => { const size = [canvas.width, canvas.height];
  return size[0] * size[1] > 0 && canvas.getContext('2d').getImageData(0, 0, ...size).data.some(part => part !== 0); }"""


@dataclass(frozen=True)
class Pages:
    page: Page
    ui: DagsterUI

    def group(self, pipeline: str) -> None:
        """The graph of one pipeline's assets."""
        self.page.goto(f"{self.ui.url}/locations/{self.ui.location}/asset-groups/{pipeline}")
        expect(self.page.get_by_role("button", name="Materialize all")).to_be_enabled()

    def everything(self, selection: str = "") -> None:
        """The graph of all assets, or of a selection as one types it there."""
        chosen = f"~{quote(selection)}" if selection else ""
        self.page.goto(f"{self.ui.url}/asset-groups{chosen}/")
        expect(self.page.get_by_role("button", name=re.compile("Materialize all"))).to_be_enabled()

    def materialize_all(self) -> str:
        """Click it, and follow the run; gives its id."""
        self.page.get_by_role("button", name="Materialize all").click()
        return self._follow("View")

    def run(self, run_id: str) -> None:
        self.page.goto(f"{self.ui.url}/runs/{run_id}")
        expect(self.page.get_by_text(re.compile("^Re-execute all"))).to_be_visible()

    def ends(self, word: str) -> None:
        """The run that one is looking at ends with Success, Failure or Canceled."""
        expect(self.page.get_by_text(word, exact=True).first).to_be_visible()

    def terminate(self, *, force: bool = False) -> None:
        """The button on the page of a run, and what its dialog asks."""
        self.page.get_by_role("button", name=re.compile("Terminate$")).click()
        if force:
            self.page.get_by_text("Force termination immediately").click()
        self.page.get_by_role("button", name="Force termination for" if force else "Terminate 1 run").click()

    def execute_again(self) -> str:
        """From the page of a run that has ended; gives the new run's id."""
        before = self.page.url
        self.page.get_by_role("button", name=re.compile("^Re-execute all")).click()
        self.page.wait_for_url(lambda url: "/runs/" in url and url.split("?")[0] != before.split("?")[0])
        return self._run_id()

    def asset(self, key: str) -> None:
        self.page.goto(f"{self.ui.url}/assets/{key}")
        expect(self.page.get_by_role("tab", name="Overview")).to_be_visible()

    def check(self, key: str, name: str) -> None:
        self.page.goto(f"{self.ui.url}/assets/{key}?view=checks&checkDetail={name}")
        expect(self.page.get_by_text("Latest execution")).to_be_visible()

    def result(self) -> Locator:
        """Of the check that one is looking at: its heading, with Passed or Failed."""
        return self.page.get_by_text("Evaluation result", exact=True).locator("xpath=..")

    def plots(self) -> Locator:
        """The curves of the asset that one is looking at."""
        self.page.get_by_role("button", name="Plots").click()
        return self.page.locator("canvas")

    def value(self, name: str) -> Locator:
        """The row of a metadata key in the table of the asset that one is looking at."""
        return self.page.get_by_role("row").filter(has=self.page.get_by_text(name, exact=True))

    def _follow(self, link: str) -> str:
        self.page.get_by_role("link", name=link, exact=True).click()
        self.page.wait_for_url("**/runs/*")
        return self._run_id()

    def _run_id(self) -> str:
        return self.page.url.split("?")[0].rsplit("/", 1)[1]


def drawn(canvas: Locator) -> bool:
    """Whether there is anything on it."""
    return bool(canvas.evaluate(_DRAWN))
