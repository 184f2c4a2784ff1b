"""What earlier answers of a pipeline say of those to come: how long they are, how often one is asked for again, how much
of a prompt the provider has cached, and what its own count of a prompt was."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from loom_dagster.costs.lengths import Length, of_answers
from loom_dagster.ledger.past_answers import PastAnswer

__all__ = ["Again", "CachedShare", "History", "purpose_of"]

_FEW = 8  # answers: fewer say little
_OTHER_MODEL = (0.6, 1.6)  # how much shorter or longer another model may answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Further calls that follow a first one: ``rate`` of them a call, as ``times`` after ``seen`` calls, with so many
    tokens."""

    what: str
    rate: float
    seen: int
    times: int
    input_tokens: float
    output_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedShare:
    """Of a prompt's tokens, those that the provider had cached, 0..1: the average of all tokens of ``seen`` calls, and how
    much one call differs from another."""

    mean: float = 0.0
    deviation: float = 0.0
    seen: int = 0


class History:
    """Of one pipeline. ``prompt``, ``NAME@VERSION``, is the one that is asked now: answers to it go before those to
    earlier versions. ``retries``: records that fail are asked again, and answers are kept from run to run."""

    def __init__(self, answers: Sequence[PastAnswer], *, prompt: str, retries: bool) -> None:
        self._prompt, self._retries = prompt, retries
        name = prompt.partition("@")[0]
        self._current: defaultdict[tuple[str, str], list[PastAnswer]] = defaultdict(list)
        self._earlier: defaultdict[tuple[str, str], list[PastAnswer]] = defaultdict(list)
        for answer in answers:
            current = answer.prompt in ("", prompt)
            if current or answer.prompt.partition("@")[0] == name:
                (self._current if current else self._earlier)[answer.purpose, answer.model].append(answer)

    def length(self, purpose: str, model: str) -> Length | None:
        """Of an answer; None when there is nothing to go by."""
        now, before = self._current[purpose, model], self._earlier[purpose, model]
        judged = purpose.startswith("evaluate")
        if len(now) >= _FEW:
            what = "earlier verdicts" if judged else "earlier answers to this prompt"
            return of_answers([a.output_tokens for a in now], f"as {len(now):,} {what}")
        if len(before) >= _FEW:
            what = "answers to earlier versions of this prompt"
            return of_answers([a.output_tokens for a in before], f"as {len(before):,} {what}")
        return self._of_others(purpose, model)

    def _of_others(self, purpose: str, model: str) -> Length | None:
        found = [
            (a, m)
            for (p, m), several in self._current.items()
            if p == purpose and m != model
            for a in several
        ]
        names = sorted({m for _, m in found})
        length = of_answers(
            [a.output_tokens for a, _ in found], f"as {len(found):,} answers of {', '.join(names)}"
        )
        if length is None:
            return None
        shorter, longer = (share * length.mean for share in _OTHER_MODEL)
        return replace(length, deviation=0.0, seen=0, low=shorter, high=longer)

    def cached(self, purpose: str, model: str) -> CachedShare:
        """How much of its prompts the provider had cached."""
        answers = [
            a for a in self._current[purpose, model] or self._earlier[purpose, model] if a.input_tokens
        ]
        if not answers:
            return CachedShare()
        mean = sum(a.cached_tokens for a in answers) / sum(a.input_tokens for a in answers)
        squares = sum((a.cached_tokens / a.input_tokens - mean) ** 2 for a in answers)
        return CachedShare(mean=mean, deviation=math.sqrt(squares / len(answers)), seen=len(answers))

    def counted(self, purpose: str, model: str) -> Mapping[str, int]:
        """By record: the tokens of its prompt as the provider counted them."""
        return {a.record_id: a.input_tokens for a in reversed(self._current[purpose, model])}

    def mean_input(self, purpose: str, model: str) -> tuple[float, int]:
        """Tokens of a prompt as the provider counted them, and of how many calls that is the average."""
        answers = self._current[purpose, model]
        return (sum(a.input_tokens for a in answers) / len(answers) if answers else 0.0), len(answers)

    def again(self, purpose: str, model: str) -> tuple[Again, ...]:
        """What follows a call: another one that repairs its answer, or that asks again for a record that failed."""
        first = self._current[purpose, model]
        if len(first) < _FEW:
            return ()
        repairs = self._current["repair" if purpose == "transform" else f"{purpose}:repair", model]
        found = [_again("repaired", repairs or _twice(first), len(repairs), len(first))]
        records = len({a.record_id for a in first})
        if self._retries:
            found.append(_again("asked again", first, len(first) - records, records))
        return tuple(found)


def _twice(answers: Sequence[PastAnswer]) -> list[PastAnswer]:
    """As a repair is: all that was said, and a request."""
    return [a._replace(input_tokens=2 * a.input_tokens) for a in answers]


def _again(what: str, answers: Sequence[PastAnswer], times: int, of: int) -> Again:
    n = max(len(answers), 1)
    return Again(
        what=what,
        rate=(times + 0.5) / (of + 1),  # by Jeffreys: that it never happened does not mean that it never will
        seen=of,
        times=times,
        input_tokens=sum(a.input_tokens for a in answers) / n,
        output_tokens=sum(a.output_tokens for a in answers) / n,
    )


def purpose_of(purpose: str) -> str:
    """The call that a repair belongs to."""
    return "transform" if purpose == "repair" else purpose.removesuffix(":repair")
