"""The tests of a suite as things to run one by one, and what comes of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from loom_dagster.prompt_tests.cases import Case
from loom_dagster.prompt_tests.running import CaseResult
from loom_dagster.prompt_tests.verdicts import Sampled
from loom_dagster.spec.suites import DistributionalTest, IntegrationTest

__all__ = ["SECTIONS", "Item", "Result", "RunResult", "SampleResult", "Section"]

Section = Literal["unit", "distributional", "integration"]
SECTIONS: Mapping[Section, str] = {
    "unit": "Unit Tests",
    "distributional": "Distributional Tests",
    "integration": "Integration Tests",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One test. ``key`` is unique in its suite; ``tags`` of it, and the name of its section, choose it."""

    section: Section
    name: str
    where: str
    tags: tuple[str, ...]
    spec: Case | DistributionalTest | IntegrationTest

    @property
    def key(self) -> str:
        return f"{self.section}::{self.name}"

    def chosen(self, words: str | None, tags: Sequence[str]) -> bool:
        """Whether its name holds ``words``, in any case, and it has all of ``tags``."""
        named = words is None or words.lower() in self.name.lower()
        return named and set(tags) <= {*self.tags, self.section}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleResult:
    """Of a distributional test. ``not_asked``: why nothing can be said."""

    item: Item
    sampled: Sampled | None = None
    not_asked: str | None = None

    @property
    def passed(self) -> bool:
        return self.sampled is not None and self.sampled.passed

    @property
    def answered(self) -> bool:
        """Whether every question that it asks was."""
        return self.sampled is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Of an integration test. ``facts``: what its assertions are about. ``notes``: what people should know of the run."""

    item: Item
    answered: bool = True
    failures: tuple[str, ...] = ()
    facts: Mapping[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.failures


Result = CaseResult | SampleResult | RunResult
