import io
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from loom_dagster.cli.quarantine import _known, _wanted, show_entries, show_record
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import QuarantineEntry


class Page(io.StringIO):
    encoding = "utf-8"


class Screen(Page):
    def isatty(self):
        return True


def entry(record_id, **changes):
    fields = {
        "pipeline": "p", "partition": "", "record_id": record_id, "run_id": "r1", "stage": "evaluate",
        "kind": "gate_failed", "reason": "quality 0.70 < 0.75", "sample": 1,
        "quarantined_at": datetime(2026, 11, 14, tzinfo=UTC), "resolved_at": None, "resolution": None,
        "resolved_by": None,
    }  # fmt: skip
    return QuarantineEntry(**fields | changes)


@dataclass
class Loom:
    entries: list

    def quarantine(self, name, *, resolved, partition=None):
        return self.entries


def listed(entries, limit=50, screen=None):
    page = screen or Page()
    show_entries("my pipeline", entries, limit, Terminal(page, {"COLUMNS": "80"}))
    return page.getvalue()


def test_the_list_is_a_line_a_record_and_what_can_be_done():
    shown = listed([entry("a"), entry("b", kind="wrong_schema", stage="transform")])
    lines = shown.splitlines()
    assert lines[0].split() == ["RECORD", "STAGE", "KIND", "SINCE", "REASON"]
    assert lines[1].startswith("a ")
    assert "quality 0.70 < 0.75" in lines[1]
    assert "2 records" in shown
    assert "loom quarantine show 'my pipeline' a" in shown


def test_the_list_says_how_many_are_not_shown():
    shown = listed([entry(str(n)) for n in range(30)], limit=3)
    assert "30 records, 3 shown (--limit)" in shown
    assert len(shown.splitlines()) == 1 + 3 + 1 + 3


def test_partitions_are_shown_where_there_are_any():
    assert "PARTITION" in listed([entry("a", partition="2026-01-01")])
    assert "PARTITION" not in listed([entry("a")])


def test_in_a_terminal_of_eighty_columns_no_line_wraps():
    shown = listed([entry("a" * 20, reason="a long reason " * 20)], screen=Screen())
    plain = shown.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert all(len(line) <= 80 for line in plain.splitlines())


def test_what_records_say_cannot_steer_the_terminal():
    shown = listed([entry("id\x1b[2J", reason="\x1b]0;x\x07")])
    assert "\x1b" not in shown
    page = Page()
    show_record(
        "p",
        {
            "record_id": "a\x1b[2J",
            "reason": "\x1b[2J",
            "source": {"\x1b[1m": "\x1b[2J"},
            "raw_answer": "x\x1b[2J\ny",
        },
        Terminal(page, {}),
    )
    assert "\x1b" not in page.getvalue()
    assert "  x\\x1b[2J\n  y\n" in page.getvalue()


def test_an_empty_quarantine_is_good_news():
    assert "Nothing in quarantine" in listed([])


def test_unknown_ids_are_named_with_the_nearest():
    with pytest.raises(Misconfigured, match="T-0I") as caught:
        _known(Loom([entry("T-01")]), "p", ["T-01", "T-0I"])
    assert "T-01" in str(caught.value.fix)


def test_ids_or_all_but_not_both():
    assert _wanted(["a", "a", "b"], everything=False) == ["a", "b"]
    assert _wanted([], everything=True) is None
    for ids, everything in (([], False), (["a"], True)):
        with pytest.raises(Misconfigured):
            _wanted(ids, everything)
