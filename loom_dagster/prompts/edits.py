"""Whether an edit of a prompt is finished: the lock says so."""

from __future__ import annotations

from loom_dagster.prompts.prompt import Prompt
from loom_dagster.prompts.versions import read_lock
from loom_dagster.settings import Settings

__all__ = ["is_unfinished"]


def is_unfinished(prompt: Prompt, settings: Settings) -> bool:
    """Whether versions of the prompt are locked, and this content is none of them: someone is still at it.
    Raises Misconfigured when the lock cannot be read."""
    locked = read_lock(settings).get(prompt.name, {})
    return bool(locked) and locked.get(prompt.version) != prompt.digest
