import io
import json
import os

import pytest

from loom_dagster.cli import output
from loom_dagster.cli.figures import counted, dollars, moment, release_name, seconds, share
from loom_dagster.cli.terminal import Terminal, cells, clean, shorten


class Screen(io.StringIO):
    """A terminal that remembers."""

    encoding = "utf-8"

    def isatty(self):
        return True


class Pipe(io.StringIO):
    encoding = "utf-8"


class Latin(Pipe):
    encoding = "latin-1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("a\rb", "a\\rb"),
        ("two\nlines", "two\\nlines"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\ud800", "\\ud800"),
        ("naïve 日本 ✅", "naïve 日本 ✅"),
    ],
)
def test_what_a_record_says_never_steers_the_terminal(text, shown):
    screen = Screen()
    Terminal(screen, {}).line(text)
    assert clean(text) == shown
    assert screen.getvalue() == shown + "\n"


def test_a_paragraph_and_a_table_are_cleaned_too():
    screen = Screen()
    terminal = Terminal(screen, {"COLUMNS": "60"})
    terminal.paragraph("bad \x1b[31m text", first="! ")
    terminal.table([("\x1b[31m", "x\ny")], head=("a", "b"))
    assert "\x1b[31m" not in screen.getvalue()
    assert screen.getvalue().count("\n") == 3


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_color_there_are_words_for_signs_and_no_escapes(environ):
    screen = Screen()
    terminal = Terminal(screen, environ)
    terminal.line(f"{terminal.sign('good')} fine", "bold")
    assert screen.getvalue() == "ok   fine\n"


def test_a_stream_that_cannot_write_them_gets_words_for_signs():
    assert Terminal(Latin(), {}).sign("bad").strip() == "FAIL"
    assert Terminal(Pipe(), {}).sign("bad").strip() == "❌"


def test_signs_are_equally_wide():
    for terminal in (Terminal(Pipe(), {}), Terminal(Latin(), {})):
        assert len({cells(terminal.sign(s)) for s in ("good", "bad", "warn", "none")}) == 1


def test_colors_only_in_a_terminal():
    pipe, screen = Pipe(), Screen()
    Terminal(pipe, {}).line("x", "red")
    Terminal(screen, {}).line("x", "red")
    assert pipe.getvalue() == "x\n"
    assert screen.getvalue() == "\x1b[31mx\x1b[0m\n"


def test_columns_align_by_what_is_seen():
    pipe = Pipe()
    Terminal(pipe, {}).table([("日本", "1"), ("abcdef", "2")])
    assert pipe.getvalue().splitlines() == ["日本    1", "abcdef  2"]


def test_a_table_is_cut_at_the_edge_of_a_terminal_and_nowhere_else():
    screen, pipe = Screen(), Pipe()
    row = ("id", "a long reason " * 10)
    Terminal(screen, {"COLUMNS": "40"}).table([row])
    Terminal(pipe, {"COLUMNS": "40"}).table([row])
    assert cells(screen.getvalue().rstrip("\n")) <= 40
    assert screen.getvalue().rstrip().endswith("…")
    assert pipe.getvalue() == f"id  {row[1].rstrip()}\n"


def test_a_paragraph_wraps_with_its_indent_and_keeps_paths_whole():
    screen = Screen()
    path = "/a/very-long-path/that-has-hyphens/and-more-of-them/data.parquet"
    Terminal(screen, {"COLUMNS": "40"}).paragraph(f"some words here {path}", first="* ", rest="  ")
    assert screen.getvalue().splitlines() == ["* some words here", f"  {path}"]


@pytest.mark.parametrize("text", ["", "abc", "日本語日本語", "a日b本c語" * 5])
@pytest.mark.parametrize("width", [5, 6, 7])
def test_shorten_never_exceeds(text, width):
    assert cells(shorten(text, width)) <= width


def test_a_reader_that_goes_away_ends_the_output_and_not_the_run():
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w", encoding="utf-8")
    os.close(reader)
    terminal = Terminal(stream, {})
    for _ in range(3):
        terminal.line("x" * 10_000)
    stream.close()
    assert stream.closed  # nothing was raised on the way, and nothing is left to be flushed


def test_json_is_plain_and_valid(capsys):
    output.emit(
        {
            "nan": float("nan"),
            "bytes": b"\xff",
            1: {
                "\ud800",
            },
            "esc": "\x1b\x9b\u202e",
            "path": os.curdir,
        }
    )
    text = capsys.readouterr().out
    found = json.loads(text)
    assert found == {"nan": None, "bytes": "\\xff", "1": ["\ud800"], "esc": "\x1b\x9b\u202e", "path": "."}
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)


def test_figures_read_like_words():
    assert counted(1, "record") == "1 record"
    assert counted(10_000, "reply", "replies") == "10,000 replies"
    assert [dollars(x) for x in (0, 2.34, 1234.5, 0.0123, 0.00042)] == [
        "$0.00",
        "$2.34",
        "$1,234.50",
        "$0.0123",
        "$0.00042",
    ]
    assert [seconds(x) for x in (None, 0.25, 1.24, 125.3, 7800)] == ["-", "250ms", "1.2s", "2m 05s", "2h 10m"]
    assert [release_name(x) for x in (None, "2.1.0", "v2", "main")] == ["", " (v2.1.0)", " (v2)", " (main)"]
    assert moment(None) == "-"
    assert moment("not a time") == "not a time"


def test_a_share_is_never_rounded_to_all_or_nothing():
    assert [share(a, b) for a, b in ((9847, 10_000), (9999, 10_000), (1, 100_000), (0, 5), (5, 5), (0, 0))] == [
        "98.5%", "99.9%", "0.1%", "0%", "100%", "-",
    ]  # fmt: skip
