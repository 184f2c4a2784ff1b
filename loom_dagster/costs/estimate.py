"""From counted prompts to money: what the calls of a run will cost, and between what bounds.

The interval (95%) has what is drawn at random in it: which records were counted, how long answers are, how often one has
to be repaired. What is guessed, because there is no earlier answer to go by, widens it by all that may be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from loom_dagster.costs.history import Again, CachedShare
from loom_dagster.costs.lengths import Length
from loom_dagster.gateway.question import Price

__all__ = ["Asked", "Correction", "Estimate", "Line", "Terms", "estimate"]

_NOTHING_CACHED = CachedShare()
_Z = 1.96  # 95% of a normal distribution


class Asked(NamedTuple):
    """One call that a record needs: its prompt's tokens as counted, whether its answer is ``stored``, and a short hash of
    the question. ``invented``: which of some made-up outputs is judged, for want of an answer."""

    purpose: str
    tokens: int
    stored: bool
    question: bytes
    invented: int | None = None


class _Repeats:
    """Which calls nobody has to pay for: who asks the same again waits for the first answer."""

    def __init__(self) -> None:
        self._first: dict[bytes, int | None] = {}
        self._shared: set[bytes] = set()

    def is_free(self, call: Asked) -> bool:
        """Of a made-up output that is known only once another one has led to the same question: the verdict that is in
        the store is that of the record which it was taken from."""
        known, first = call.question in self._first, self._first.setdefault(call.question, call.invented)
        if call.invented is None:
            return known or call.stored
        if known and first != call.invented:
            self._shared.add(call.question)
        return call.question in self._shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What counted tokens are multiplied by, and by which share that may be wrong; ``source`` in words."""

    ratio: float = 1.0
    slack: float = 0.0
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one kind of call is reckoned by. ``cached``: how much of a prompt the provider had cached."""

    purpose: str
    model: str
    price: Price | None
    batch: Price | None
    length: Length
    correction: Correction = Correction()
    cached: CachedShare = _NOTHING_CACHED
    again: Sequence[Again] = ()

    @property
    def cached_share(self) -> float:
        return self.cached.mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One kind of call, over the whole run. USD, None where the price is not known; ``free`` calls are answered
    already, or repeat another one; ``in_batches``: through the provider's batch API."""

    terms: Terms
    calls: float
    free: float
    again: float
    input_tokens: float
    output_tokens: float
    cost: float | None
    low: float | None
    high: float | None
    in_batches: float | None

    @property
    def stage(self) -> str:
        return "evaluate" if self.terms.purpose.startswith("evaluate") else "transform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A run with ``model``. ``cost``, ``low`` and ``high`` in USD, of the lines whose price is known; ``unpriced``: the
    models whose price is not."""

    model: str
    lines: Sequence[Line]
    cost: float
    low: float
    high: float
    unpriced: Sequence[str] = ()
    in_batches: float | None = None
    notes: Sequence[str] = field(default_factory=tuple)


@dataclass(slots=True)
class _Sums:
    """Over the records that were counted."""

    calls: int = 0
    free: int = 0
    tokens: float = 0.0
    cost: float = 0.0
    batch: float = 0.0
    squares: float = 0.0


def estimate(
    model: str, sample: Sequence[Sequence[Asked]], records: int, terms: Mapping[str, Terms]
) -> Estimate:
    """Of ``records`` records, of which ``sample`` says what they need; ``terms`` by purpose."""
    sums = {purpose: _Sums() for purpose in terms}
    squares, repeats = 0.0, _Repeats()
    for asked in sample:
        spent = dict.fromkeys(terms, 0.0)
        for call in asked:
            _count(sums[call.purpose], terms[call.purpose], call, spent, free=repeats.is_free(call))
        squares += sum(spent.values()) ** 2
        for purpose, cost in spent.items():
            sums[purpose].squares += cost**2
    n, scale = len(sample), records / max(len(sample), 1)
    lines = [_line(terms[purpose], each, n, records) for purpose, each in sums.items()]
    priced = [line for line in lines if line.cost is not None]
    cost = sum(line.cost or 0.0 for line in priced)
    drawn = sum(_variance_of_answers(line.terms, line.calls, line.input_tokens) for line in priced)
    drawn += _variance_of_sample(sum(each.cost for each in sums.values()), squares, n, records)
    below, above = (
        sum(_guessed(line.terms, sums[line.terms.purpose], scale)[side] for line in priced) for side in (0, 1)
    )
    half = _Z * math.sqrt(drawn)
    batched = [line.in_batches for line in lines if line.stage == "transform"]
    others = sum(line.cost or 0.0 for line in lines if line.stage != "transform")
    return Estimate(
        model=model,
        lines=lines,
        cost=cost,
        low=max(cost - half - below, 0.0),
        high=cost + half + above,
        unpriced=sorted({line.terms.model for line in lines if line.cost is None and line.calls}),
        in_batches=None if None in batched else sum(b or 0.0 for b in batched) + others,
    )


def _count(sums: _Sums, terms: Terms, call: Asked, spent: dict[str, float], *, free: bool) -> None:
    if free:
        sums.free += 1
        return
    tokens = call.tokens * terms.correction.ratio
    cost = _price_of_call(terms, terms.price, tokens)
    sums.calls += 1
    sums.tokens += tokens
    sums.cost += cost
    sums.batch += _price_of_call(terms, terms.batch, tokens)
    spent[terms.purpose] += cost


def _price_of_call(terms: Terms, price: Price | None, tokens: float) -> float:
    """With the calls that follow it."""
    if price is None:
        return 0.0
    again = sum(
        a.rate * _price(price, a.input_tokens, a.output_tokens, terms.cached_share) for a in terms.again
    )
    return _price(price, tokens, terms.length.mean, terms.cached_share) + again


def _price(price: Price, into: float, out: float, cached_share: float) -> float:
    price = price.at(math.ceil(into))
    cached = price.input if price.cached is None else price.cached
    return into * ((1 - cached_share) * price.input + cached_share * cached) + out * price.output


def _line(terms: Terms, sums: _Sums, n: int, records: int) -> Line:
    scale = records / max(n, 1)
    calls, again = sums.calls * scale, sum(a.rate for a in terms.again)
    cost = sums.cost * scale
    half = _Z * math.sqrt(
        _variance_of_answers(terms, calls, sums.tokens * scale)
        + _variance_of_sample(sums.cost, sums.squares, n, records)
    )
    below, above = _guessed(terms, sums, scale)
    known = terms.price is not None
    return Line(
        terms=terms,
        calls=calls,
        free=sums.free * scale,
        again=calls * again,
        input_tokens=sums.tokens * scale + calls * sum(a.rate * a.input_tokens for a in terms.again),
        output_tokens=calls * (terms.length.mean + sum(a.rate * a.output_tokens for a in terms.again)),
        cost=cost if known else None,
        low=max(cost - half - below, 0.0) if known else None,
        high=cost + half + above if known else None,
        in_batches=None if terms.batch is None and calls else sums.batch * scale,
    )


def _variance_of_sample(total: float, squares: float, n: int, records: int) -> float:
    """Of the sum over all records, estimated from ``n`` of them drawn without replacement."""
    if n < 2 or n >= records:
        return 0.0
    variance = max(squares - total**2 / n, 0.0) / (n - 1)
    return records**2 * variance / n * (1 - n / records)


def _variance_of_answers(terms: Terms, calls: float, tokens: float) -> float:
    """Of what answers cost: their average is known from some, and each differs from it."""
    price, length = terms.price, terms.length
    if price is None or not calls:
        return 0.0
    found = 0.0
    if length.seen:
        found += (calls + calls**2 / length.seen) * (length.deviation * price.output) ** 2
    if terms.cached.seen and price.cached is not None:
        saved = terms.cached.deviation * tokens / calls * (price.input - price.cached)
        found += (calls + calls**2 / terms.cached.seen) * saved**2
    for a in terms.again:
        cost = _price(price, a.input_tokens, a.output_tokens, terms.cached_share)
        found += (calls + calls**2 / a.seen) * max(a.rate * (1 - a.rate), 0.0) * cost**2
    return found


def _guessed(terms: Terms, sums: _Sums, scale: float) -> tuple[float, float]:
    """How much less and more it may be than what was guessed, in USD."""
    price, length = terms.price, terms.length
    if price is None:
        return 0.0, 0.0
    slack = terms.correction.slack * sums.tokens * scale * price.input
    if not length.guessed:
        return slack, slack
    calls = sums.calls * scale * price.output
    return slack + calls * (length.mean - length.low), slack + calls * (length.high - length.mean)
