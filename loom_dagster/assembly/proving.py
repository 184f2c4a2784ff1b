"""A record's question, asked again of what is kept: the prompt as it was rendered, the proof that it was that one, and
the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loom_dagster.assembly.past import Used
from loom_dagster.ledger.answer_reading import read_answers
from loom_dagster.lineage import answer_documents
from loom_dagster.records import Record
from loom_dagster.release.columns import ANSWERS

if TYPE_CHECKING:
    from loom_dagster.assembly.state import State

__all__ = ["question_again"]


def question_again(
    loom: State,
    used: Used,
    record_id: str,
    row: Mapping[str, Any],
    source: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The prompt of a ``row`` of a snapshot, rendered again from the ``source``'s columns, with whether it is proven to be
    the one that was asked; and every answer that the record was made of."""
    attempts = row.get("_loom_attempts", row.get("attempts")) or 0
    kept = row.get(ANSWERS, row.get("answers"))
    store = loom.answer_place
    messages = _messages(used, row, source)
    wanted: dict[bytes, tuple[int, str]] = {}
    if not isinstance(messages, str) and source is not None:
        record = Record(id=record_id, position=0, row=0, columns=source)
        wanted = {key: (sample, model) for key, sample, model in used.keys(record, messages, attempts)}
    if kept is None:  # of a time when this was not kept: what can be computed is looked for
        stored = read_answers(store, wanted)
        beginnings = list(stored)
    else:
        beginnings = [bytes.fromhex(text) for text in kept.split(",") if text]
        stored = read_answers(store, beginnings)
    proof = _proof(messages, wanted, beginnings, used, record_id, kept_them=kept is not None)
    samples = {b: sample for b in beginnings for key, (sample, _) in wanted.items() if key.startswith(b)}
    answers = answer_documents(beginnings, stored, samples, record_id=record_id, ended=used.run.finished_at)
    prompt = {
        "name": (used.versions.get("prompt") or {}).get("name"),
        "version": (used.versions.get("prompt") or {}).get("version"),
        "sha256": (used.versions.get("prompt") or {}).get("sha256"),
        "contexts": used.versions.get("contexts") or {},
        "messages": None if isinstance(messages, str) else messages,
        **proof,
    }
    return prompt, answers


def _messages(
    used: Used, row: Mapping[str, Any], source: Mapping[str, Any] | None
) -> list[Mapping[str, str]] | str:
    if row.get("stage") == "extract":
        return "nothing was asked: the row was refused when it was read"
    if source is None:
        return "the source's row is not kept of records that are deferred"
    return used.rendered(source)


def _proof(
    messages: Sequence[Mapping[str, str]] | str,
    wanted: Mapping[bytes, tuple[int, str]],
    beginnings: Sequence[bytes],
    used: Used,
    record_id: str,
    *,
    kept_them: bool,
) -> dict[str, Any]:
    """Whether the prompt is the one that was asked: its question's key is that of a stored answer."""
    if isinstance(messages, str):
        return {"verified": False, "why": messages}
    key = next((k for k in wanted if any(k.startswith(b) for b in beginnings)), None)
    if key is not None:
        fields = used.recipe["cache"]["key_fields"]
        cut = any(
            str(n).startswith(f"{record_id}: prompt cut") for n in (used.run.outcome or {}).get("notes", ())
        )
        words = [
            f"the cache's key_fields ({', '.join(fields)}) make the question; other columns are not proven"
            if fields
            else "",
            "it was too long for the model and was cut before it was sent" if cut else "",
        ]
        return {"verified": True, "key": key.hex(), "why": "; ".join(filter(None, words))}
    if not beginnings:
        why = "no answer was had" if kept_them else "the answer store has no answer to it"
    elif any("@" in str((used.recipe.get(m) or {}).get("api_base")) for m in ("model", "second")):
        why = "the model's address holds a login, which is not kept"
    else:
        why = "the answers belong to other questions"
    return {"verified": False, "why": why}
