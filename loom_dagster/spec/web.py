"""The ``extract.web`` block: how a web API that gives its rows page by page is asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from loom_dagster.spec.blocks import Block, Duration

__all__ = ["Paging", "Web"]

Word = Annotated[str, Field(min_length=1)]


class Paging(Block):
    """Where the next page is; exactly one way. ``link: true`` (short: ``paging: link``): the ``Link`` header
    with ``rel="next"``. ``next``: a URL in the answer, by its path (``meta.next``). ``page``: a parameter that
    counts up from ``from`` until a page is empty. ``cursor``: a text in the answer, by its path, that the
    parameter ``as`` hands back."""

    link: bool = False
    next: Word | None = None
    page: Word | None = None
    from_: int = Field(default=1, alias="from")
    cursor: Word | None = None
    as_: Word | None = Field(default=None, alias="as")

    @model_validator(mode="after")
    def _one_way(self) -> Paging:
        ways = [self.link, *(way is not None for way in (self.next, self.page, self.cursor))]
        if sum(ways) != 1:
            raise ValueError(
                "paging is one of `link`, `{next: PATH}`, `{page: PARAMETER}`, `{cursor: PATH, as: PARAMETER}`"
            )
        if (self.cursor is None) != (self.as_ is None):
            raise ValueError("a `cursor` needs `as`, the parameter that hands it back")
        return self


def _as_mapping(value: Any) -> Any:
    return {"link": True} if value == "link" else value


class Web(Block):
    """A web API. ``records``: the path of the rows in an answer (``data.items``); without it the answer is the
    list of rows. ``headers_env``: the environment variable with the value of each header, for secrets; other
    hosts than the source's never get these. ``timeout``: how long an answer may stall."""

    paging: Annotated[
        Paging | None, BeforeValidator(_as_mapping, json_schema_input_type=Paging | str | None)
    ] = None
    records: Word | None = None
    headers_env: dict[Word, Word] = Field(default_factory=dict)
    timeout: Duration = timedelta(seconds=60)
