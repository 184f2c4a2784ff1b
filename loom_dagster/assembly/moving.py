"""Answers that lie in the state folder, for those who put them on Postgres from now on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loom_dagster.errors import Misconfigured

if TYPE_CHECKING:
    from loom_dagster.assembly.state import State

__all__ = ["Copied", "copy_answers"]


class Copied(NamedTuple):
    """``new`` of ``answers`` were not there yet, or older. ``file`` and ``place`` are for people."""

    file: str
    place: str
    answers: int
    new: int


def copy_answers(loom: State) -> Copied:
    """From the file into the store that the setting names; the file stays. Again, when it was killed, does no harm.

    Raises Misconfigured when they lie in the file anyway, when there is none, and for a store that cannot be used.
    """
    from loom_dagster.ledger.answer_file import AnswerFile
    from loom_dagster.ledger.answer_schema import AnswerSchema

    file, place = AnswerFile(loom.settings.state_dir / "answers.sqlite"), loom.answer_place
    if not isinstance(place, AnswerSchema):
        fix = 'set `answers = "postgres://CONNECTION/SCHEMA"` under [tool.loom]'
        raise Misconfigured("the answers are meant to lie in the file", where=file.name, fix=fix)
    if not file.exists():
        raise Misconfigured("there is no file with answers", where=file.name)
    answers = new = 0
    store = place.open()
    try:
        for rows in file.pages():
            answers, new = answers + len(rows), new + store.take(rows)
    finally:
        store.close()
    return Copied(file=file.name, place=place.name, answers=answers, new=new)
