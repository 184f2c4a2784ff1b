"""The connector that docs/connectors.md shows is installed and used as its readers would."""

from __future__ import annotations

import mailbox
import re
import tomllib
from email.message import EmailMessage
from pathlib import Path

import pytest

from loom_dagster.connectors import place_of, source_at
from loom_dagster.errors import Misconfigured
from tests.journeys.project import Project

DOCS = Path(__file__).resolve().parents[2] / "docs/connectors.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)


def install(site: Path, points: dict[str, str], name: str = "loom_mailboxes") -> None:
    """As an installer leaves a package behind."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{scheme} = {target}\n" for scheme, target in points.items())
    (info / "entry_points.txt").write_text(f"[loom_dagster.connectors]\n{lines}")


@pytest.fixture
def project(tmp_path):
    site = tmp_path / "site"
    [source] = blocks("python")
    package = tomllib.loads(next(b for b in blocks("toml") if "entry-points" in b))
    install(site, package["project"]["entry-points"]["loom_dagster.connectors"])
    (site / "mailboxes.py").write_text(source)
    project = Project(tmp_path / "project")
    project.environ = {"PYTHONPATH": f"{site}:{Path(__file__).resolve().parents[2]}"}
    (project.root / "data").mkdir()
    box = mailbox.mbox(project.root / "data/support.mbox")
    for number in range(3):
        mail = EmailMessage()
        mail["Message-ID"], mail["Subject"] = f"<{number}@example.com>", f"Order {number}"
        mail.set_content("Where is my order?\n")
        if number == 1:
            mail.add_attachment(b"x", maintype="image", subtype="png")
        box.add(mail)
    box.close()
    return project


def test_it_is_a_source_like_any_other(project):
    project.write("prompts/classify.txt", "Is this mail a complaint? {{ input.subject }}: {{ input.text }}")
    project.pipeline(extract={"source": "mbox://data/support.mbox", "key": "id"})
    assert project.loom("validate", "classify").code == 0
    done = project.run()
    assert done.code == 0, done.err
    assert [r["id"] for r in project.table()] == ["<0@example.com>", "<2@example.com>"]
    [kept] = project.loom("quarantine", "list", "classify", "--json").json["records"]
    assert kept["reason"] == "not a plain mail"
    project.pipeline(extract={"source": "mbox://data/none.mbox", "key": "id"})
    assert "mbox://data/none.mbox does not exist" in project.loom("validate", "classify").out


def test_one_that_reads_only_is_not_written(project):
    project.reviews({"1": "text"})
    project.pipeline(load={"destination": "mbox://out.mbox"})
    shown = project.loom("validate", "classify")
    assert shown.code != 0 and "can be read, not written" in shown.out + shown.err


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_module_of_ours:connector", "cannot be loaded.*ModuleNotFoundError"),
        ("pathlib:Path", "is a type, not a Connector"),
    ],
)
def test_one_that_is_broken_says_so(tmp_path, monkeypatch, target, message):
    install(tmp_path, {"broken": target}, name="broken")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Misconfigured, match=message):
        source_at(place_of("broken://x", tmp_path))


def test_ours_cannot_be_taken_away(tmp_path, monkeypatch):
    install(tmp_path, {"https": "no_such_module_of_ours:connector"}, name="thief")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert source_at(place_of("https://example.org/x.csv", tmp_path)) is not None


def test_every_pipeline_on_the_page_loads():
    from loom_dagster.spec import parse_pipeline

    whole = [b for b in blocks("yaml") if b.startswith("name:")]
    parts = [b for b in blocks("yaml") if not b.startswith("name:")]
    assert whole and parts
    for text in whole:
        assert parse_pipeline(text).spec.extract.key == ("path",)
    for text in parts:
        parse_pipeline(f"name: x\ntransform: {{prompt: p}}\nload: {{destination: out.csv}}\n{text}")
