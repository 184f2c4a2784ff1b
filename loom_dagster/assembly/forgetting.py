"""Answers that somebody wants forgotten: written down first, then gone."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Protocol

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Deed, Selection

if TYPE_CHECKING:
    from loom_dagster.ledger import Ledger, Upkeep

__all__ = ["forget_answers"]


class Home(Protocol):
    """What is needed of the project."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def upkeep(self) -> Upkeep: ...


def forget_answers(home: Home, wanted: Selection, *, who: str, why: str) -> int:
    """Forget the answers that are ``wanted``: the next question is asked anew. Gives how many there were.

    Raises Misconfigured when nothing is wanted, and for a prompt or a model that there is no answer of.
    """
    meant, _ = home.upkeep.meant(wanted)
    if not meant:
        _refuse_unknown(home, wanted)
        return 0
    given = {"record": wanted.record, "prompt": wanted.prompt, "model": wanted.model}
    detail = {**{name: value for name, value in given.items() if value is not None}, "answers": meant}
    home.ledger.audit.note(Deed(action="answers_forget", who=who, why=why, detail=detail))
    gone = home.upkeep.delete(wanted)
    home.upkeep.shrink(alone=False)
    return gone


def _refuse_unknown(home: Home, wanted: Selection) -> None:
    groups = home.upkeep.groups()
    prompts = {g.prompt for g in groups} | {
        g.prompt.partition("@")[0] for g in groups
    }  # of a version, or of all
    known = {"prompt": prompts - {""}, "model": {g.model for g in groups}}
    for what, name in (("prompt", wanted.prompt), ("model", wanted.model)):
        if name is not None and name not in known[what] and groups:
            near = difflib.get_close_matches(name, known[what], n=1)
            fix = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(sorted(known[what]))}"
            raise Misconfigured(f"there is no answer of {what} `{name}`", fix=fix)
