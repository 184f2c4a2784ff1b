"""The answer store as something that is looked after: what is in it, and how answers leave it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.answer_place import AnswerPlace

__all__ = ["AnswerGroup", "Selection", "Upkeep"]

_BYTES = "length(text) + 200"  # of an answer: its text, and about so much for the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerGroup:
    """The answers that one model gave to one prompt of a pipeline (judges have no prompt of the project). ``cost``: USD
    that was paid for them, None where a price is not known; times in UNIX seconds."""

    pipeline: str
    prompt: str
    model: str
    answers: int
    cost: float | None
    input_tokens: int
    output_tokens: int
    oldest: float
    newest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Answers for which all that is given holds; of some ``pipelines`` only. ``prompt`` is a name, for all its versions,
    or ``NAME@VERSION``. ``before`` in UNIX seconds; those of the ``spared`` pipelines, and all from ``spared_from`` on,
    stay."""

    record: str | None = None
    prompt: str | None = None
    model: str | None = None
    before: float | None = None
    pipelines: Sequence[str] | None = None
    spared: Sequence[str] = ()
    spared_from: float | None = None

    def condition(self) -> tuple[str, list[str | float]]:
        """In SQL that every place takes, and its values. Raises Misconfigured when nothing is given: everything is never meant."""
        times = [at for at in (self.before, self.spared_from) if at is not None]
        chosen: list[tuple[str, list[str | float]]] = [
            (sql, [value])
            for sql, value in (
                ("record_id = ?", self.record),
                ("model = ?", self.model),
                ("created_at < ?", min(times, default=None)),
            )
            if value is not None
        ]
        if self.prompt is not None:
            any_version = f"{self.prompt}@"
            given: list[str | float] = [self.prompt, len(any_version), any_version]
            chosen.append(("(prompt = ? OR substr(prompt, 1, ?) = ?)", given))
        if not chosen:
            raise Misconfigured("which answers?", fix="give a record, a prompt or a model")
        sql = " AND ".join(part for part, _ in chosen)
        values = [value for _, some in chosen for value in some]
        if self.pipelines is not None:
            sql += f" AND pipeline IN ({', '.join('?' * len(self.pipelines))})"
            values += self.pipelines
        for name in self.spared:
            sql += " AND pipeline <> ?"
            values.append(name)
        return sql, values


class Upkeep:
    """Of what is at ``place``, where nothing need be. Raises Misconfigured when it cannot be used."""

    def __init__(self, place: AnswerPlace) -> None:
        self._place = place

    def size(self) -> int:
        """Bytes on disk."""
        return self._place.size()

    def groups(self) -> list[AnswerGroup]:
        """What is there, the most answers first."""
        query = f"""
            SELECT pipeline, prompt, model, count(*), CASE WHEN count(cost) = count(*) THEN sum(cost) END,
                   sum(input_tokens), sum(output_tokens), min(created_at), max(created_at)
            FROM {self._place.table} GROUP BY pipeline, prompt, model ORDER BY count(*) DESC, pipeline, prompt, model
        """  # noqa: S608 - a plain name
        names = AnswerGroup.__dataclass_fields__
        return [AnswerGroup(**dict(zip(names, row, strict=True))) for row in self._place.rows(query)]

    def meant(self, selection: Selection) -> tuple[int, int]:
        """How many answers, and about how many bytes."""
        condition, values = selection.condition()
        query = f"SELECT count(*), coalesce(sum({_BYTES}), 0) FROM {self._place.table} WHERE {condition}"  # noqa: S608 - fixed names
        [(number, size)] = self._place.rows(query, values) or [(0, 0)]
        return int(number), int(size)

    def delete(self, selection: Selection) -> int:
        """Take them away, in small transactions; gives how many there were."""
        return self._place.delete(*selection.condition())

    def shrink(self, *, alone: bool) -> bool:
        """Give free room back; whether that was possible. ``alone``: no run is going on."""
        return self._place.shrink(alone=alone)
