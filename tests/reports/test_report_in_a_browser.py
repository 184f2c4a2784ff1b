"""The page in a real Chromium: what it does with records that mean no good, and on a narrow screen."""

from __future__ import annotations

import pytest

from loom_dagster.release import Releases
from tests.reports.made import Row, make_run, many
from tests.servers.chromium import chromium

pytestmark = [
    pytest.mark.service,
    # a browser that is gone may leave a transport to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
NASTY = '<script>document.title="mine"</script><img src=x onerror="document.title=\'mine\'">'
ODD = [
    Row(
        id="long" * 300,
        review="w" * 10_000,
        answered="v" * 300,
        scores={"quality": 0.1},
        explanation="e" * 10_000,
    ),
    Row(
        id="rtl",
        review="المنتج رائع لكن الدعم بطيء \u202e drawkcab",
        reasoning="שלום",
        scores={"quality": 0.11},
    ),
    Row(id="emoji 👩‍👩‍👧‍👦", review="🔥" * 200, answered="👍", scores={"quality": 0.12}),
    Row(id=NASTY, review=NASTY, answered=NASTY, reasoning=NASTY, scores={"quality": 0.13}),
    Row(id="refused", scores={}, kind="k" * 300, reason="r" * 3000),
]


@pytest.fixture
def report(project, tmp_path):
    with project.ledger() as ledger:
        made = Releases(ledger, project.root / ".loom")
        make_run(ledger, made, many(300, ("quality",), seed=1))
        make_run(ledger, made, [*ODD, *many(300, ("quality",))])
    target = tmp_path / "report.html"
    assert project.loom("report", "reviews", "--output", str(target)).code == 0
    return target


def test_nothing_runs_nothing_is_fetched_and_nothing_sticks_out(report, tmp_path):
    with chromium(str(tmp_path / "profile")) as browser:
        page = browser.new_page()
        asked, said = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        for scheme in ("light", "dark"):
            for width in (1280, 400):
                page.set_viewport_size({"width": width, "height": 900})
                page.emulate_media(color_scheme=scheme)
                page.goto(report.as_uri())
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (scheme, width)
            assert _least_contrast(page) >= 4.5, scheme
        assert page.title().startswith("reviews: run ")
        assert set(asked) == {report.as_uri()}
        assert said == []
        assert page.locator("main").inner_text().count("<script>") >= 3


def _least_contrast(page):
    """Of all text on its background, as WCAG 2.1 counts it."""
    return page.evaluate("""() => {
      const channels = c => (c.match(/[\\d.]+/g) || []).map(Number);
      const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const behind = e => { for (; e; e = e.parentElement) {
        const c = channels(getComputedStyle(e).backgroundColor);
        if (c.length === 3) return c; } return [255, 255, 255]; };
      let least = 21;
      for (const e of document.querySelectorAll('main *, header *')) {
        if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.closest('svg')) continue;
        const [a, b] = [light(channels(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
        least = Math.min(least, (a + 0.05) / (b + 0.05));
      }
      return least;
    }""")
