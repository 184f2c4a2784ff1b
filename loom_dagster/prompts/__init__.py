"""Prompts: versioned files with variables, compiled once, rendered for every record."""

from loom_dagster.prompts.compile import compile_prompt, compile_texts
from loom_dagster.prompts.edits import is_unfinished
from loom_dagster.prompts.fixed import check_value, render_value
from loom_dagster.prompts.locking import Locked, lock_prompts
from loom_dagster.prompts.prompt import Example, Message, Prompt, TextFile
from loom_dagster.prompts.prompt_file import content_digest

__all__ = [
    "Example",
    "Locked",
    "Message",
    "Prompt",
    "TextFile",
    "check_value",
    "compile_prompt",
    "compile_texts",
    "content_digest",
    "is_unfinished",
    "lock_prompts",
    "render_value",
]
