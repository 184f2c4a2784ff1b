"""The terms of an estimate: what one kind of call of one model is reckoned by, and where each number is from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from loom_dagster.assembly.dry_run import Rehearsal
from loom_dagster.assembly.prepared import Prepared
from loom_dagster.costs import (
    Asked,
    Correction,
    Estimate,
    History,
    Length,
    Terms,
    estimate,
    of_examples,
    of_schema,
    of_text,
)
from loom_dagster.gateway import Model, batch_price
from loom_dagster.gateway.batching import price_in_batches
from loom_dagster.gateway.prices import price_file
from loom_dagster.gateway.tokens import Tokenizer

__all__ = ["Subject", "estimate_of", "nearest_model"]

_PAIRS = 20  # prompts that were counted by both: fewer say little
_SLACK = {"exact": 0.02, "nearest": 0.2}  # what may be wrong with a count that nothing confirms


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One model in a dry run: the pipeline put together with it, and its way."""

    ready: Prepared
    model: Model
    rehearsal: Rehearsal
    history: History
    judges: Mapping[str, Model]
    tokenizer: Callable[[str], Tokenizer]


def estimate_of(subject: Subject, sample: Sequence[Sequence[Asked]], records: int) -> Estimate:
    """Of ``records`` records, of which ``sample`` says what they would ask."""
    purposes = ["transform", *subject.judges]
    terms = {purpose: _terms(subject, purpose, sample) for purpose in purposes}
    return replace(
        estimate(subject.model.name, sample, records, terms),
        notes=[
            f"the price of {name} is not known: {nearest_model(name, 'declare it under [tool.loom.prices]')}" for name in
            sorted({t.model for t in terms.values() if t.price is None})
        ],
    )  # fmt: skip


def _terms(subject: Subject, purpose: str, sample: Sequence[Sequence[Asked]]) -> Terms:
    model = subject.judges.get(purpose, subject.model)
    prices, history = subject.ready.prices, subject.history
    batched = purpose == "transform" and subject.ready.spec.transform.mode == "batch"
    return Terms(
        purpose=purpose,
        model=model.name,
        price=price_in_batches(model, prices) if batched else model.price or prices.price(model.name),
        batch=None if batched else batch_price(model, prices),
        length=_length(subject, purpose, model),
        correction=_correction(subject, purpose, model, sample),
        cached=history.cached(purpose, model.name),
        again=history.again(purpose, model.name),
    )


def _length(subject: Subject, purpose: str, model: Model) -> Length:
    known = subject.history.length(purpose, model.name)
    if known is not None:
        return known
    count = subject.tokenizer(model.name).text
    prompt, most = subject.ready.prompt, model.max_tokens
    if purpose == "transform" and prompt is not None:
        shown = of_examples([count(e.output) for e in prompt.examples], most)
        if shown is not None:
            return shown
    schema = subject.rehearsal.notebook.schemas.get(purpose)
    return of_text(most) if schema is None else of_schema(schema.body, count, most)


def _correction(
    subject: Subject, purpose: str, model: Model, sample: Sequence[Sequence[Asked]]
) -> Correction:
    tokenizer = subject.tokenizer(model.name)
    real, counted, n = subject.rehearsal.notebook.pairs.get(purpose, (0, 0, 0))
    how = f"{tokenizer.name}, {'its own encoding' if tokenizer.exact else 'the nearest encoding'}"
    if n >= _PAIRS:
        return Correction(
            ratio=real / counted, source=f"{how}; x {real / counted:.3f} as {n:,} answers were billed"
        )
    mean, seen = subject.history.mean_input(purpose, model.name)
    ours = [a.tokens for asked in sample for a in asked if a.purpose == purpose]
    if not tokenizer.exact and seen >= _PAIRS and ours:
        ratio = mean * len(ours) / sum(ours)
        return Correction(
            ratio=ratio, slack=0.05, source=f"{how}; x {ratio:.3f} as {seen:,} others were billed on average"
        )
    return Correction(slack=_SLACK["exact" if tokenizer.exact else "nearest"], source=how)


def nearest_model(name: str, otherwise: str = "write it as litellm does (provider/model)") -> str:
    """What is probably meant, if the price file has it."""
    near = difflib.get_close_matches(name, price_file(), n=1, cutoff=0.8)
    return f"did you mean `{near[0]}`?" if near else otherwise
