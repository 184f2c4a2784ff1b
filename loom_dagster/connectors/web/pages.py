"""The pages of an API, one after the other, each as a file in a folder of ours."""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from loom_dagster.connectors.files.formats import Format
from loom_dagster.connectors.files.locations import File, expand, locate
from loom_dagster.connectors.web.client import Client
from loom_dagster.connectors.web.page import Page, fetched, first_address, next_address
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Extract
from loom_dagster.spec.web import Web

__all__ = ["kept_pages"]


def kept_pages(
    client: Client, source: str, extract: Extract, web: Web, folder: Path
) -> tuple[list[File], Format, str]:
    """Fetches all pages, or as many as have ``extract.limit`` rows. Returns their files, format and encoding.

    Raises Misconfigured for pages that are not data, differ in format or never end, and Transient where
    the server goes away.
    """
    files: list[File] = []
    seen: set[bytes] = set()
    rows = number = 0
    before: Page | None = None
    url: str | None = first_address(source, web.paging)
    while url is not None:
        client.assert_web(url)
        _assert_new(url, seen, f"page {number + 1} of {client.shown(url)}")
        number += 1
        page = fetched(client, url, number, extract.format, web)
        _assert_fits(page, before, counted=web.paging is not None and web.paging.page is not None)
        if page.data:
            files.append(_kept(page, number, folder))
        rows += page.rows
        before = page
        done = extract.limit is not None and rows >= extract.limit
        url = None if done else next_address(page, number, web.paging)
    if before is None:
        raise Misconfigured(f"{client.shown(source)} has no pages")
    return files, before.form, extract.encoding if before.tree is None else "utf-8"


def _assert_new(url: str, seen: set[bytes], name: str) -> None:
    mark = hashlib.sha256(url.encode()).digest()
    if mark in seen:
        raise Misconfigured(
            f"{name} is at an address that was read already",
            why="the pages would never end",
            fix="see `extract.web.paging`",
        )
    seen.add(mark)


def _assert_fits(page: Page, before: Page | None, *, counted: bool) -> None:
    if before is None:
        return
    if page.form is not before.form:
        raise Misconfigured(f"{page.name} is {page.form.name}, those before it are {before.form.name}")
    if counted and page.rows and page.data == before.data:
        raise Misconfigured(
            f"{page.name} has the same rows as the page before it",
            why="the server seems not to know the parameter that counts pages",
            fix="see `extract.web.paging`",
        )


def _kept(page: Page, number: int, folder: Path) -> File:
    """The page on disk; messages call it by its name."""
    own = posixpath.basename(urlsplit(page.url).path).lower()
    end = next(
        (e for e in page.form.extensions if own.removesuffix(".gz").endswith(e)), page.form.extensions[0]
    )
    path = folder / f"{number:06d}{end}{'.gz' if own.endswith('.gz') else ''}"
    path.write_bytes(page.data)
    [file] = expand(locate(str(path), folder))
    return replace(file, location=replace(file.location, uri=page.name))
