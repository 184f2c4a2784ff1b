"""Answers kept beside the tests, so that a suite runs where there is no key: recorded, committed, replayed.

One line of JSON an answer, sorted by the case it belongs to. Nothing of the question is in it but its key.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loom_dagster.errors import Misconfigured, Outage
from loom_dagster.evaluate.judgements import Judgement
from loom_dagster.gateway.keys import model_prefix, question_key
from loom_dagster.gateway.question import Question
from loom_dagster.records import Answer, Usage

__all__ = ["Judged", "Recorded", "Recording", "Replayed", "read_line", "recording_path"]

NOT_RECORDED = "not_recorded"
_KEY_BYTES = 32
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A judgement, whose answers stand in lines of their own."""

    key: bytes
    value: float
    explanation: str
    answers: tuple[bytes, ...]
    of: str
    purpose: str

    @property
    def place(self) -> tuple[str, str, str]:
        return self.of, self.purpose, self.key.hex()

    def line(self) -> str:
        document = {
            "case": self.of,
            "for": self.purpose,
            "key": self.key.hex(),
            "score": self.value,
            "explanation": self.explanation,
            "answers": [key.hex() for key in self.answers],
        }
        return json.dumps(document)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Judged:
        """Raises ValueError for a line that is not one of ours."""
        return cls(
            key=_key(document, "key"),
            value=_of(document, "score", float),
            explanation=_of(document, "explanation", str),
            answers=tuple(_key({"key": key}, "key") for key in _of(document, "answers", list)),
            of=_of(document, "case", str),
            purpose=_of(document, "for", str),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An answer and what it was for: the case (or record) and the purpose, as in ``Origin``."""

    answer: Answer
    of: str
    purpose: str

    @property
    def place(self) -> tuple[str, str, str]:
        """Where its line stands among the others."""
        return self.of, self.purpose, self.answer.key.hex()

    def line(self) -> str:
        answer, usage = self.answer, self.answer.usage
        document = {
            "case": self.of,
            "for": self.purpose,
            "key": answer.key.hex(),
            "model": answer.model,
            "text": answer.text,
            "finish": answer.finish,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_tokens": usage.cached_tokens,
            "cost": answer.cost,
            "latency": round(answer.latency, 4),
        }
        if answer.simulated:
            document["simulated"] = True
        return json.dumps(document, ensure_ascii=True)

    @property
    def key(self) -> bytes:
        return self.answer.key

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Recorded:
        """Raises ValueError for a line that is not one of ours."""
        answer = Answer(
            key=_key(document, "key"),
            model=_of(document, "model", str),
            text=_of(document, "text", str),
            finish=_of(document, "finish", str),
            usage=Usage(**{name: _of(document, name, int) for name in _TOKENS}),
            cost=None if document.get("cost") is None else _of(document, "cost", float),
            latency=_of(document, "latency", float),
            simulated=document.get("simulated") is True,
            reused=True,
        )
        return cls(answer=answer, of=_of(document, "case", str), purpose=_of(document, "for", str))


Entry = Recorded | Judged


def read_line(line: str) -> Entry:
    """Raises ValueError for a line that is not one of ours."""
    document = json.loads(line)
    if not isinstance(document, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - a wrong line, as any other
    return Judged.read(document) if "score" in document else Recorded.read(document)


def _key(document: Mapping[str, Any], name: str) -> bytes:
    key = bytes.fromhex(_of(document, name, str))
    if len(key) != _KEY_BYTES:
        raise ValueError(f"`{name}` is not 64 hex digits")
    return key


_TOKENS = ("input_tokens", "output_tokens", "cached_tokens")


def _of(document: Mapping[str, Any], name: str, kind: type) -> Any:
    value: Any = document.get(name)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"`{name}` is missing, or not what it should be")
    return value


def recording_path(suite: Path) -> Path:
    """``tests/recordings/x.jsonl`` for ``tests/x_test.yaml``."""
    return suite.parent / "recordings" / f"{suite.stem.removesuffix('_test')}.jsonl"


@dataclass(slots=True)
class Recording:
    """The answers of one suite and what was read from them, by key. ``used``: those that were asked for. ``replays``:
    it stands in for the models."""

    path: Path
    shown: str
    replays: bool = False
    entries: dict[bytes, Entry] = field(default_factory=dict)
    used: set[bytes] = field(default_factory=set)

    @classmethod
    def load(cls, path: Path, shown: str, *, replays: bool = False) -> Recording:
        """Empty where there is no file. A line that is not one of ours is left out, and to be replayed an error: after a
        merge conflict the next recording puts things right. Raises Misconfigured for a file that cannot be read."""
        recording = cls(path, shown, replays)
        try:
            with path.open(encoding="utf-8-sig") as file:
                for number, line in enumerate(file, 1):
                    recording._take(line, number)
        except FileNotFoundError:
            return recording
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured("the recording cannot be read", where=shown, why=str(error)) from error
        return recording

    def _take(self, line: str, number: int) -> None:
        if not line.strip():
            return
        try:
            entry = read_line(line)
        except (ValueError, RecursionError) as error:
            if not self.replays:
                return
            merged = line.startswith(_CONFLICT)
            raise Misconfigured(
                "the recording is broken",
                where=f"{self.shown}:{number}",
                why="a merge conflict is not resolved" if merged else str(error),
                fix="record it anew, with --record",
            ) from error
        self.entries[entry.key] = entry

    def keep(self, entry: Entry) -> None:
        """Add one; where two cases ask the same, it stands with the first by name."""
        known = self.entries.get(entry.key)
        if entry.key not in self.used or known is None or entry.place < known.place:
            self.entries[entry.key] = entry
        self.used.add(entry.key)

    def answer(self, key: bytes) -> Answer | None:
        """The one with ``key``, which is used then."""
        entry = self.entries.get(key)
        if not isinstance(entry, Recorded):
            return None
        self.used.add(key)
        return entry.answer

    def judgement(self, key: bytes) -> Judgement | None:
        """To be replayed; to be recorded judges are asked."""
        entry = self.entries.get(key) if self.replays else None
        if not isinstance(entry, Judged):
            return None
        answers = tuple(answer for k in entry.answers if (answer := self.answer(k)) is not None)
        if len(answers) < len(entry.answers):
            return None
        self.used.add(key)
        return Judgement(value=entry.value, explanation=entry.explanation, answers=answers)

    def keep_judgement(self, key: bytes, judgement: Judgement, *, of: str, purpose: str) -> None:
        """To be recorded; what is worked out anew while it is replayed is not news."""
        if self.replays:
            return
        self.keep(
            Judged(
                key=key,
                value=judgement.value,
                explanation=judgement.explanation,
                answers=tuple(answer.key for answer in judgement.answers),
                of=of,
                purpose=purpose,
            )
        )

    @property
    def answers_used(self) -> int:
        """How many answers were asked for."""
        return sum(isinstance(self.entries.get(key), Recorded) for key in self.used)

    @property
    def unused(self) -> list[Recorded]:
        """Answers that nobody asked for, sorted."""
        found = (e for k, e in self.entries.items() if k not in self.used and isinstance(e, Recorded))
        return sorted(found, key=lambda entry: entry.place)

    def write(self, *, whole: bool) -> None:
        """In one step. ``whole``: every case was run, so what was not used is dropped; else what others have recorded in the
        meantime stays."""
        if not whole:
            self.entries = {**Recording.load(self.path, self.shown).entries, **self.entries}
        kept = [e for k, e in self.entries.items() if k in self.used or not whole]
        lines = "".join(f"{entry.line()}\n" for entry in sorted(kept, key=lambda entry: entry.place))
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(lines, encoding="utf-8")
            beside.replace(self.path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise Misconfigured(
                "the recording cannot be written", where=self.shown, why=str(error)
            ) from error


class Replayed:
    """Answers questions from a recording and in no other way: no key, no provider, no network."""

    def __init__(self, recording: Recording, again: str) -> None:
        """``again``: the command that records."""
        self._recording, self._again = recording, again
        self._prefixes: dict[int, tuple[Any, Any]] = {}

    async def ask(self, question: Question) -> Answer:
        """The recorded answer. Raises Outage (``not_recorded``) when there is none: nothing is wrong with the case, and
        no judge may make a low score of it. Raises Permanent when the answer is of no use."""
        from loom_dagster.gateway.gateway import (
            usable,  # the gateway itself, which tests that replay never open
        )

        for key in self._keys(question):
            found = self._recording.answer(key)
            if found is not None:
                return usable(found)
        raise Outage(
            f"case `{question.origin.record_id}` has no recording for this prompt and model",
            fix=f"record again with {self._again}",
            kind=NOT_RECORDED,
        )

    def _keys(self, question: Question) -> Iterator[bytes]:
        for model in (question.model, *question.model.fallbacks):
            known = self._prefixes.get(id(model))
            if known is None:
                known = self._prefixes[id(model)] = (model, model_prefix(model))
            yield question_key(question, known[1])
