"""Takes the pictures of docs/images/ again: the demo in a scratch folder, Dagster's UI on it, a browser in front of it.

`make pictures`; it needs chromium. Look at each before you commit it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.pages import Pages
from tests.servers.chromium import chromium
from tests.servers.dagster_ui import DagsterUI

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
PARTS = ("pyproject.toml", "definitions.py", "pipelines", "prompts", "context", "data")
SMALL = 250_000
MANY = 200
USUAL: ViewportSize = {"width": 1300, "height": 760}
TALL: ViewportSize = {"width": 1100, "height": 1040}
WIDE: ViewportSize = {"width": 1750, "height": 900}


def demo(folder: Path) -> None:
    """A copy of the demo in which three smaller batches have passed already."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("out", "__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    reviews = folder / "data" / "reviews.jsonl"
    lines = reviews.read_text(encoding="utf-8").splitlines(keepends=True)
    for share in (0.4, 0.6, 0.8, 1.0):
        reviews.write_text("".join(lines[: int(share * len(lines))]), encoding="utf-8")
        loom(folder, "run", "customer_sentiment", "review_insights")


def strict(folder: Path) -> None:
    """From now on a batch of the demo is held."""
    pipeline = folder / "pipelines" / "customer_sentiment.yaml"
    text = pipeline.read_text(encoding="utf-8")
    changed = text.replace("batch_threshold: 0.75", "batch_threshold: 0.95")
    if changed == text:
        raise RuntimeError("the demo's batch_threshold is not where it was")
    pipeline.write_text(changed, encoding="utf-8")


def watched(folder: Path) -> None:
    """From now on the pipelines of the demo are run by what comes."""
    for pipeline in (folder / "pipelines").glob("*.yaml"):
        text = pipeline.read_text(encoding="utf-8")
        pipeline.write_text(f"{text}\ntrigger: {{on: [new_data, prompt], every: 30s}}\n", encoding="utf-8")


def many(folder: Path) -> None:
    """A project with 200 pipelines, ten a group of sources."""
    (folder / "prompts").mkdir(parents=True)
    (folder / "pipelines").mkdir()
    (folder / "pyproject.toml").write_text("[tool.loom]\nmodel = 'offline/demo'\n", encoding="utf-8")
    (folder / "prompts" / "ask.txt").write_text("{{ input.text }}\n", encoding="utf-8")
    for number in range(MANY):
        source = f"data/in_{number}.csv" if number % 10 == 0 else f"pipeline://p{number - 1:03}"
        (folder / "pipelines" / f"p{number:03}.yaml").write_text(
            f"name: p{number:03}\nextract: {{source: '{source}', key: id}}\n"
            "transform: {prompt: prompts/ask.txt}\n"
            "evaluate: {evaluators: [{name: short, type: regex, pattern: '.'}]}\n"
            f"load: {{destination: data/out/p{number:03}.parquet}}\n",
            encoding="utf-8",
        )


def loom(folder: Path, *words: str, code: int = 0) -> None:
    command = [sys.executable, "-m", "loom_dagster.cli.main", *words, "--project", str(folder)]
    done = subprocess.run(command, env=environ(), check=False, capture_output=True, text=True)
    if done.returncode != code:
        raise RuntimeError(
            f"`loom {' '.join(words)}` exited with {done.returncode}:\n{done.stdout}{done.stderr}"
        )


def environ() -> dict[str, str]:
    said = ("LOOM_", "DAGSTER_", "OPENAI_", "ANTHROPIC_")
    return {name: value for name, value in os.environ.items() if not name.startswith(said)}


def take(pages: Pages, name: str) -> None:
    """What is to be seen, as docs/images/NAME.png."""
    shoot(pages.page, name)


def shoot(page: Page, name: str) -> None:
    page.mouse.move(0, 0)
    target = IMAGES / f"{name}.png"
    page.screenshot(path=target, animations="disabled")
    if target.stat().st_size > SMALL:
        raise RuntimeError(f"{target.name} has {target.stat().st_size} bytes, more than {SMALL}")
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")


def asset_graph(pages: Pages) -> None:
    pages.group("customer_sentiment")
    expect(pages.page.get_by_text("3 / 3 Passed")).to_be_visible()
    expect(pages.page.get_by_text("Materialized", exact=True)).to_have_count(3)
    take(pages, "asset-graph")


def metadata_plot(pages: Pages) -> None:
    pages.asset("customer_sentiment/transformed")
    expect(pages.plots().first).to_be_visible()
    pages.page.get_by_text("passed", exact=True).first.scroll_into_view_if_needed()
    take(pages, "metadata-plot")


def held_batch(pages: Pages) -> None:
    pages.check("customer_sentiment/transformed", "quality_gate")
    expect(pages.result()).to_contain_text("Failed")
    take(pages, "held-batch")


def sensors(pages: Pages) -> None:
    pages.page.goto(f"{pages.ui.url}/automation")
    for pipeline in ("customer_sentiment", "review_insights"):
        expect(pages.page.get_by_text(f"{pipeline}__new_data__prompt")).to_be_visible()
    expect(pages.page.get_by_text("seconds ago")).to_have_count(2)  # each has looked
    take(pages, "sensors")


def quarantine(pages: Pages) -> None:
    pages.asset("customer_sentiment/quarantine")
    pages.value("reasons").evaluate("row => row.scrollIntoView({block: 'start'})")
    take(pages, "quarantine")


def many_pipelines(pages: Pages) -> None:
    pages.everything('kind:"loom"')
    expect(pages.page.get_by_text("p199", exact=True).first).to_be_visible()
    take(pages, "many-pipelines")


def report(page: Page, folder: Path) -> None:
    """The page that `loom report` writes, from its top to the matrix."""
    loom(folder, "report", "customer_sentiment", "--output", str(folder / "report.html"))
    page.set_viewport_size(TALL)
    page.goto((folder / "report.html").as_uri())
    expect(page.get_by_text("judged records agree")).to_be_visible()
    shoot(page, "report")


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as scratch,
        chromium(f"{scratch}/profile") as browser,
    ):
        page = browser.new_page()

        def pictures(folder: Path, *takers: Callable[[Pages], None]) -> None:
            with DagsterUI(folder, environ()) as ui:
                for taker in takers:
                    page.set_viewport_size(WIDE if taker in (quarantine, many_pipelines) else USUAL)
                    taker(Pages(page, ui))

        folder = Path(scratch) / "reviews"
        folder.mkdir()
        demo(folder)
        report(page, folder)
        pictures(folder, asset_graph, metadata_plot)
        strict(folder)
        loom(folder, "run", "customer_sentiment", code=1)
        pictures(folder, held_batch, quarantine)
        watched(folder)
        pictures(folder, sensors)
        large = Path(scratch) / "large"
        many(large)
        pictures(large, many_pipelines)


if __name__ == "__main__":
    main()
