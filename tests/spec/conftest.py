from __future__ import annotations

import textwrap

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.settings import Settings
from loom_dagster.spec import load_project, parse_pipeline

MINIMAL = """\
name: {name}
extract: {{source: {source}, key: id}}
transform: {{prompt: p}}
load: {{destination: {destination}}}
"""


@pytest.fixture
def problems_of():
    """The problems of a pipeline's text, as users see them."""

    def read(text: str) -> list[str]:
        try:
            file = parse_pipeline(textwrap.dedent(text), file="pipelines/x.yaml")
        except Misconfigured as error:
            return [str(p) for p in error.problems]
        return [str(p) for p in file.problems]

    return read


@pytest.fixture
def spec_of():
    def read(text: str):
        return parse_pipeline(textwrap.dedent(text)).spec

    return read


@pytest.fixture
def project(tmp_path):
    """Write pipelines (file name -> text, or (name, source, destination)) and load the project."""

    def make(**files):
        folder = tmp_path / "pipelines"
        folder.mkdir(exist_ok=True)
        for stem, text in files.items():
            if isinstance(text, tuple):
                text = MINIMAL.format(name=text[0], source=text[1], destination=text[2])
            (folder / f"{stem}.yaml").write_text(text, encoding="utf-8")
        return load_project(Settings(root=tmp_path))

    return make
