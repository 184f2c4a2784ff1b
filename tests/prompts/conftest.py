from __future__ import annotations

import pytest

from loom_dagster.prompts import compile_prompt
from loom_dagster.settings import Settings
from loom_dagster.spec import parse_pipeline

PIPELINE = "name: x\nextract: {{source: a}}\ntransform: {{prompt: prompts/p.txt{transform}}}\nload: {{destination: b}}\n"


class Workshop:
    """A project on disk with one pipeline and one prompt."""

    def __init__(self, root):
        self.root = root
        self.settings = Settings(root=root)
        for folder in ("prompts", "context", "pipelines"):
            (root / folder).mkdir()

    def write(self, path, text):
        data = text if isinstance(text, bytes) else text.encode()
        (self.root / path).write_bytes(data)

    def pipeline(self, transform=""):
        text = PIPELINE.format(transform=transform)
        self.write("pipelines/x.yaml", text)
        return parse_pipeline(text, file="pipelines/x.yaml", path=self.root / "pipelines" / "x.yaml")

    def compile(self, text=None, transform="", *, strict=False, environ=None):
        """(the prompt, the problems as users see them)"""
        if text is not None:
            self.write("prompts/p.txt", text)
        prompt, problems = compile_prompt(
            self.pipeline(transform), self.settings, strict=strict, environ=environ or {}
        )
        return prompt, [f"{p.level}: {p}" for p in problems]

    def prompt(self, text, transform=""):
        prompt, problems = self.compile(text, transform)
        assert prompt is not None, problems
        return prompt

    def text(self, text, **columns):
        """What the model is shown."""
        return self.prompt(text).render(columns)[-1]["content"]


@pytest.fixture
def shop(tmp_path):
    return Workshop(tmp_path)
