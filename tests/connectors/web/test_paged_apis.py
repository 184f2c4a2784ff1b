from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from loom_dagster.connectors import Wanted, place_of, source_at
from loom_dagster.errors import Misconfigured, Transient
from loom_dagster.spec.models import Extract
from tests.servers.web import Reply, web_server

ROWS = [{"id": i, "text": f"review {i}"} for i in range(7)]


@pytest.fixture
def server():
    with web_server() as running:
        yield running


@pytest.fixture
def other():
    with web_server() as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_is_left_over(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert not list(tmp_path.glob("loom-web-*"))


def read(uri, web, **extract):
    """All rows, read twice, and the reasons of the unreadable ones."""
    place = place_of(uri, Path("/"))
    source = source_at(place).open(place, Wanted(extract=Extract(source=uri, web=web, **extract), rows=3))
    try:
        first, again = ([r for c in source.chunks() for r in c.table.to_pylist()] for _ in range(2))
        assert first == again
        bad = [row.reason for c in source.chunks() for row in c.unreadable]
    finally:
        source.close()
        source.close()
    return first, bad


def body(value) -> bytes:
    return json.dumps(value).encode()


def page_of(asked, size=3, parameter="page"):
    """Rows of the page asked for, and its number."""
    number = int(asked.query.get(parameter, "1"))
    return ROWS[(number - 1) * size : number * size], number


def by_link(asked):
    rows, number = page_of(asked)
    more = {"Link": f'</reviews?page={number + 1}>; rel="next", </>; rel="first"'} if number < 3 else {}
    return Reply(body=body(rows), headers=more)


def by_next(asked):
    rows, number = page_of(asked)
    following = f"?page={number + 1}" if number < 3 else None
    return Reply(body=body({"data": {"items": rows}, "paging": {"next": following}}))


def by_number(asked):
    rows, _ = page_of(asked)
    return Reply(body=body({"items": rows}))


def by_cursor(asked):
    rows, number = page_of(asked, parameter="after")
    return Reply(body=body({"items": rows, "meta": [{"cursor": number + 1 if number < 3 else ""}]}))


@pytest.mark.parametrize(
    ("answer", "web"),
    [
        (by_link, {"paging": "link"}),
        (by_next, {"paging": {"next": "$.paging.next"}, "records": "$.data.items"}),
        (by_number, {"paging": {"page": "page"}, "records": "items"}),
        (by_cursor, {"paging": {"cursor": "meta.0.cursor", "as": "after"}, "records": "items"}),
        (lambda asked: Reply(body=body(ROWS)), {}),
    ],
)
def test_every_page_comes_once_and_in_order(server, answer, web):
    server.answer = answer
    assert read(f"{server.url}/reviews", web) == (ROWS, [])
    assert len(server.asked) == len({str(a) for a in server.asked})


def test_a_limit_asks_for_no_more_pages_than_it_needs(server):
    server.answer = by_number
    read(f"{server.url}/reviews?lang=en", {"paging": {"page": "page"}, "records": "items"}, limit=4)
    assert [a.query for a in server.asked] == [{"lang": "en", "page": "1"}, {"lang": "en", "page": "2"}]


def parquet(rows) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([("id", pa.int64()), ("text", pa.string())])), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (
            "text/csv; charset=utf-8",
            lambda rows: "\n".join(["id,text", *(f"{r['id']},{r['text']}" for r in rows)]).encode(),
        ),
        ("application/x-ndjson", lambda rows: b"\n".join(map(body, rows))),
        ("application/vnd.apache.parquet", parquet),
    ],
)
def test_other_formats_by_what_the_server_says(server, kind, written):
    server.answer = lambda asked: Reply(body=written(page_of(asked)[0]), kind=kind)
    assert read(f"{server.url}/reviews", {"paging": {"page": "page"}}) == (ROWS, [])


def test_rows_that_are_no_objects_and_large_numbers(server):
    server.answer = lambda asked: Reply(
        body=b'[{"id": 12345678901234567890123}, 5, {"id": 1, "x": [1, null]}, null]'
    )
    rows, bad = read(server.url, {})
    assert rows == [{"id": "12345678901234567890123", "x": None}, {"id": "1", "x": [1, None]}]
    assert bad == ["line 2: a number, not an object", "line 4: null, not an object"]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(body=b"<!DOCTYPE html><p>Log in", kind="text/html"), r"page 2 of .* is a web page \(HTML\)"),
        (Reply(body=b"\n <html>"), "is a web page"),
        (Reply(body=b'{"items": [{"id": 1}'), "page 2 of .* is not valid JSON"),
        (Reply(body=b'{"items": [{"id": NaN}]}'), "is not valid JSON"),
        (Reply(body=b'{"error": "x"}'), "has no list at `items`"),
        (Reply(body=b"id\n1\n", kind="text/csv"), "is csv, and paths are for JSON"),
        (Reply(status=401), "HTTP 401.*headers_env"),
        (Reply(status=404), "HTTP 404"),
        (Reply(body=b'{"items": [{"id": 1}]}'), "page 3 of .* has the same rows as the page before it"),
        (Reply(status=302, headers={"Location": "file:///etc/passwd"}), "sends us to a file:// address"),
        (Reply(status=302, headers={"Location": "?page=2"}), "redirects in a circle"),
    ],
)
def test_a_page_that_is_no_data_ends_it_before_anything_is_spent(server, reply, message):
    server.answer = lambda asked: by_number(asked) if asked.query["page"] == "1" else reply
    with pytest.raises(Misconfigured, match=message) as caught:
        read(f"{server.url}/reviews?token=s3cret", {"paging": {"page": "page"}, "records": "items"})
    assert "s3cret" not in str(caught.value) and "\n" not in str(caught.value)


def test_pages_that_lead_back_are_noticed(server):
    server.answer = lambda asked: Reply(
        body=body(ROWS), headers={"Link": f'</?n={1 - int(asked.query.get("n", "1"))}>; rel="next"'}
    )
    with pytest.raises(Misconfigured, match=r"read already.*never end"):
        read(f"{server.url}/?n=1", {"paging": "link"})
    assert len(server.asked) == 2


def test_busy_servers_are_asked_again_when_they_say(server):
    replies = {
        2: Reply(status=429, headers={"Retry-After": "0"}),
        3: Reply(status=503, headers={"Retry-After": "Thu, 01 Jan 2026 00:00:00 GMT"}),
    }
    server.answer = lambda asked: replies.pop(len(server.asked), None) or by_link(asked)
    assert read(f"{server.url}/reviews", {"paging": "link"}) == (ROWS, [])
    assert len(server.asked) == 5


def test_a_server_that_asks_for_an_hour_is_left_for_later(server):
    server.answer = lambda asked: Reply(status=429, headers={"Retry-After": "3600"})
    with pytest.raises(Transient, match="HTTP 429") as caught:
        read(server.url, {"paging": "link"})
    assert caught.value.retry_after == 3600 and len(server.asked) == 1


@pytest.mark.parametrize("end", [None, Reply(body=body(ROWS), cut=20)])
@pytest.mark.slow
def test_a_server_that_dies_between_or_in_two_pages(server, end, tmp_path):
    server.answer = lambda asked: by_number(asked) if asked.query["page"] == "1" else end
    with pytest.raises(Transient, match="does not answer"):
        read(f"{server.url}/reviews", {"paging": {"page": "page"}, "records": "items"})
    server.answer = by_number
    assert read(f"{server.url}/reviews", {"paging": {"page": "page"}, "records": "items"}) == (ROWS, [])


def test_secrets_go_to_the_sources_own_host_only(server, other, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "Bearer s3cret")
    headers = {"headers_env": {"Authorization": "API_TOKEN", "X-Key": "API_TOKEN"}}
    other.answer = lambda asked: Reply(body=body(ROWS[3:]))

    def link(asked):
        return Reply(body=body(ROWS[:3]), headers={"Link": f"<{other.url}/more>; rel=next"})

    def redirect(asked):
        return Reply(status=307, headers={"Location": f"{other.url}/more"})

    server.answer = link
    assert read(server.url, {"paging": "link", **headers}) == (ROWS, [])
    server.answer = redirect
    assert read(server.url, headers) == (ROWS[3:], [])
    assert [a.headers["Authorization"] for a in server.asked] == ["Bearer s3cret"] * 2
    assert len(other.asked) == 2
    assert not any({"Authorization", "X-Key"} & set(a.headers) for a in other.asked)


@pytest.mark.parametrize(
    ("uri", "web", "message"),
    [
        (
            "https://127.0.0.1:1/x",
            {"headers_env": {"Authorization": "NO_SUCH"}},
            "NO_SUCH, which is not in the environment",
        ),
        ("https://ann:s3cret@127.0.0.1:1/x", {}, "holds a user or a password"),
    ],
)
def test_what_is_known_without_asking(uri, web, message):
    place = place_of(uri, Path("/"))
    with pytest.raises(Misconfigured, match=message) as caught:
        source_at(place).check(place, Extract(source=uri, web=web), reach=False)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "web", "message"),
    [
        ("data/x.json", {"records": "items"}, "`web` belongs to a source that begins with http"),
        ("https://x", {"paging": {"page": "p", "next": "n"}}, "paging is one of"),
        ("https://x", {"paging": {"cursor": "c"}}, "needs `as`"),
        ("https://x", {"paging": {}}, "paging is one of"),
        ("https://x", {"headers": {"Authorization": "x"}}, "Extra inputs"),
    ],
)
def test_what_cannot_be_written(source, web, message):
    with pytest.raises(ValidationError, match=message):
        Extract(source=source, web=web)


def test_a_file_on_the_web_is_a_file(server):
    server.answer = lambda asked: Reply(body=b"id,text\n1,a\n", kind="text/csv")
    assert read(f"{server.url}/x.csv", None) == ([{"id": 1, "text": "a"}], [])
