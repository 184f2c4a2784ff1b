"""Prompts tested like code: cases, samples, whole pipelines, and what changed since a baseline."""

from loom_dagster.prompt_tests.observed import Asks, Observed

__all__ = ["Asks", "Observed"]
