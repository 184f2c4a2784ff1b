"""What a run of the past used, from what was kept of it: prompt, contexts, models, judges. And its questions, again."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from loom_dagster.errors import LoomError, Permanent
from loom_dagster.gateway import AnswerSchema, Message, Model, Origin, Question, question_key
from loom_dagster.ledger import Ledger, RunRow
from loom_dagster.prompts import Prompt, compile_texts
from loom_dagster.records import Record, digest
from loom_dagster.spec.models import Cache
from loom_dagster.transform import key_columns, record_identity

__all__ = ["Used", "used_by"]

_OLD = "the run kept no texts: it is of an earlier version of loom"


@dataclass(frozen=True, kw_only=True)
class Used:
    """``recipe``: see assembly/recipe.py; empty for runs that kept none. ``prompt_text`` and ``contexts`` (by name) are
    whole files; ``missing`` says why the prompt cannot be had."""

    run: RunRow
    versions: Mapping[str, Any]
    recipe: Mapping[str, Any]
    prompt_text: str | None
    contexts: Mapping[str, str]
    missing: str | None

    @property
    def outputs(self) -> list[str]:
        """The output columns."""
        return list(self.recipe.get("outputs", ()))

    @property
    def evaluators(self) -> list[str]:
        """By name, in the order of the pipeline."""
        return list(self.recipe.get("evaluator_order", ()))

    @functools.cached_property
    def prompt(self) -> Prompt | str:
        """Compiled as it was then; a sentence where that cannot be."""
        if self.missing is not None or self.prompt_text is None:
            return self.missing or _OLD
        named = self.versions["prompt"]
        try:
            return _compiled(
                self.prompt_text, tuple(self.contexts.items()), named["name"], named["version"] or ""
            )
        except LoomError as error:
            return f"the prompt of then cannot be compiled any more: {error.sentence()}"

    def rendered(self, source: Mapping[str, Any]) -> list[Message] | str:
        """The messages for a row of the source; a sentence where there are none."""
        prompt = self.prompt
        if isinstance(prompt, str):
            return prompt
        try:
            return prompt.render(source)
        except Permanent as error:
            return f"it cannot be rendered: {error.sentence()}"

    def keys(
        self, record: Record, messages: list[Message], attempts: int
    ) -> Iterator[tuple[bytes, int, str]]:
        """What the answers to these messages are stored under: key, sample and model, of each sample and model that may
        have been asked."""
        prompt, recipe = self.prompt, self.recipe
        assert isinstance(prompt, Prompt)  # noqa: S101 - there are messages
        cache = Cache(enabled=recipe["cache"]["enabled"], key_fields=tuple(recipe["cache"]["key_fields"]))
        columns = key_columns(cache, record)
        fixed = digest(prompt.digest, prompt.context_digest)
        for identity in (recipe["model"], *recipe["fallbacks"], recipe["second"]):
            for sample in range(max(attempts, 1)) if identity is not None else ():
                question = Question(
                    model=Model(**identity),
                    messages=messages,
                    origin=Origin(pipeline=self.run.pipeline, record_id=record.id, purpose="transform"),
                    schema=AnswerSchema(name="output", body=recipe["schema"])
                    if recipe["structured"]
                    else None,
                    sample=sample,
                    salt="" if cache.enabled else self.run.run_id,
                    identity=record_identity(fixed, columns, record, ()) if columns else None,
                )
                yield question_key(question), sample, identity["name"]


def used_by(ledger: Ledger, run: RunRow) -> Used:
    """What ``run`` used."""
    import orjson

    versions = dict((run.outcome or {}).get("versions") or {})
    prompt, contexts = versions.get("prompt") or {}, dict(versions.get("context_sha256") or {})
    wanted = [versions.get("recipe"), prompt.get("sha256"), *contexts.values()]
    texts = ledger.kept.texts(h for h in wanted if h)
    recipe, text = texts.get(versions.get("recipe", "")), texts.get(prompt.get("sha256", ""))
    gone = [name for name, sha in contexts.items() if sha not in texts]
    missing = None
    if run.outcome is None:
        missing = f"the run has not come to an end ({run.status})"
    elif recipe is None or text is None or len(contexts) < len(versions.get("contexts") or {}):
        missing = _OLD
    elif gone:
        missing = f"the text of context `{gone[0]}` is not kept"
    return Used(
        run=run,
        versions=versions,
        recipe={} if recipe is None else orjson.loads(recipe),
        prompt_text=text,
        contexts={name: texts[sha] for name, sha in contexts.items() if sha in texts},
        missing=missing,
    )


@functools.lru_cache(maxsize=8)
def _compiled(text: str, contexts: tuple[tuple[str, str], ...], name: str, version: str) -> Prompt:
    return compile_texts(text, dict(contexts), name=name, version=version)
