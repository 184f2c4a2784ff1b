"""One page of an API: what it is, the rows in it, and where the next one is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.parquet as pq

from loom_dagster.connectors.files.formats import FORMATS, Format, format_of
from loom_dagster.connectors.files.formats.documents import dumped
from loom_dagster.connectors.web.client import Client
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.web import Paging, Web

__all__ = ["Page", "fetched", "first_address", "next_address"]

_LARGEST = 64 << 20  # bytes of one page, which is in memory for a moment
_TYPES = {
    "application/json": "json",
    "application/jsonl": "jsonl",
    "application/ndjson": "jsonl",
    "application/x-ndjson": "jsonl",
    "application/vnd.apache.parquet": "parquet",
    "text/csv": "csv",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``name`` is for messages; ``data`` are the bytes of a file of ``form``, JSON as JSON Lines; ``tree`` is
    the answer as a whole, if it is JSON; ``link`` what its header says comes next."""

    name: str
    url: str
    form: Format
    data: bytes
    rows: int
    tree: Any = None
    link: str | None = None


def fetched(client: Client, url: str, number: int, wanted: str | None, web: Web) -> Page:
    """The page at ``url``, of the format ``wanted`` or what it says itself."""
    name = f"page {number} of {client.shown(url)}"
    answer = client.get(url)
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    link = answer.links.get("next", {}).get("url")
    data = client.body(url, answer, _LARGEST)
    form = _form(wanted, kind, url, data, name)
    if form.name != "json":
        if web.records or (web.paging and (web.paging.next or web.paging.cursor)):
            raise Misconfigured(f"{name} is {form.name}, and paths are for JSON", fix="see `extract.web`")
        return Page(name=name, url=url, form=form, data=data, rows=_count(form, data, name), link=link)
    tree = _tree(data, name)
    found = tree if web.records is None else _at(tree, web.records)
    if isinstance(found, dict) and web.records is None and web.paging is None:
        found = [found]
    if not isinstance(found, list):
        what = f"has no list at `{web.records}`" if web.records else "is not a list"
        raise Misconfigured(f"{name} {what}", fix="name the path of the rows in `extract.web.records`")
    lines = b"".join(_line(row) + b"\n" for row in found)
    return Page(name=name, url=url, form=FORMATS["jsonl"], data=lines, rows=len(found), tree=tree, link=link)


def first_address(source: str, paging: Paging | None) -> str:
    return source if paging is None or paging.page is None else _with(source, paging.page, str(paging.from_))


def next_address(page: Page, number: int, paging: Paging | None) -> str | None:
    """Where the page after ``page``, the ``number``-th, is; None at the end. Raises Misconfigured."""
    if paging is None:
        return None
    if paging.link:
        return None if page.link is None else urljoin(page.url, page.link)
    if paging.page:
        return _with(page.url, paging.page, str(paging.from_ + number)) if page.rows else None
    value = _at(page.tree, paging.next or paging.cursor or "")
    if value is None or value in ("", False):
        return None
    if isinstance(value, dict | list | bool):
        raise Misconfigured(
            f"what is at `{paging.next or paging.cursor}` in {page.name} is no text",
            fix="see `extract.web.paging`",
        )
    return urljoin(page.url, str(value)) if paging.next else _with(page.url, paging.as_ or "", str(value))


def _form(wanted: str | None, kind: str, url: str, data: bytes, name: str) -> Format:
    form = FORMATS[wanted] if wanted in FORMATS else format_of(urlsplit(url).path)
    said = _TYPES.get(kind, "json" if kind.endswith("+json") else None)
    form = form or (FORMATS[said] if said else None)
    start = data.lstrip()[:15].lower()
    if kind == "text/html" or start.startswith((b"<!doctype", b"<html")):
        raise Misconfigured(
            f"{name} is a web page (HTML), not data",
            why="often a login or an error page",
            fix="check the address and `extract.web.headers_env`",
        )
    return form or FORMATS["json"]


def _tree(data: bytes, name: str) -> Any:
    def constant(word: str) -> Any:
        raise ValueError(f"`{word}` is not JSON")

    try:
        return json.loads(data, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Misconfigured(f"{name} is not valid JSON", why=str(error)[:200]) from error


def _line(row: Any) -> bytes:
    """An object as its JSON; what is none as it is, to be told as an unreadable row."""
    return dumped(row) if isinstance(row, dict) else json.dumps(row).encode()


def _at(tree: Any, path: str) -> Any:
    """What is at ``$.data.items``, ``data.items`` or ``data.0``; None if nothing is."""
    for part in path.removeprefix("$").strip(".").split("."):
        if isinstance(tree, dict):
            tree = tree.get(part)
        elif isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return None
    return tree


def _count(form: Format, data: bytes, name: str) -> int:
    """How many rows about; none is exact."""
    if form.name == "parquet":
        try:
            return int(pq.read_metadata(pa.BufferReader(data)).num_rows)
        except pa.ArrowException as error:
            raise Misconfigured(f"{name} is not Parquet", why=str(error).splitlines()[0]) from error
    lines = sum(1 for line in data.splitlines() if line.strip())
    return max(0, lines - (form.name == "csv"))


def _with(url: str, parameter: str, value: str) -> str:
    """``url`` with one parameter set."""
    parts = urlsplit(url)
    others = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k != parameter]
    return urlunsplit((*parts[:3], urlencode([*others, (parameter, value)]), ""))
