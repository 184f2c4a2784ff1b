import io

from loom_dagster.cli.progress import Live, Plain, watching
from loom_dagster.cli.terminal import Terminal
from loom_dagster.events import Note, Progress, RunStarted, StageDone


class Time:
    def __init__(self):
        self.at = 0.0

    def monotonic(self):
        return self.at


def counts(extracted, *, exhausted=False):
    return Progress(
        pipeline="p", extracted=extracted, transformed=1, passed=1, quarantined=0, deferred=2, cost=0.5,
        exhausted=exhausted,
    )  # fmt: skip


START = RunStarted(pipeline="p", version="1", run_id="r", resumed=True, model="offline/demo", simulated=True)


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_a_pipe_gets_plain_lines_and_counts_every_ten_seconds():
    stream, time = io.StringIO(), Time()
    with Plain(Terminal(stream, {}), time) as watch:
        watch(START)
        for at in (1.0, 5.0, 9.0, 10.5, 12.0, 21.0):
            time.at = at
            watch(counts(int(at)))
        watch(StageDone(pipeline="p", stage="extract", records=21, seconds=21.0))
    assert stream.getvalue().splitlines() == [
        "p (v1): continuing the run that did not end with offline/demo, simulated answers",
        "p: 3 of 10 read so far, 1 passed, 0 rejected, 2 deferred, $0.50",
        "p: 3 of 21 read so far, 1 passed, 0 rejected, 2 deferred, $0.50",
        "p: extract done, 21 records (21.0s)",
    ]


def test_notes_cannot_steer_the_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for stream in (io.StringIO(), Screen()):
        with watching(stream) as watch:
            watch(Note(pipeline="p", text="waits \x1b]0;x\x07"))
        assert "\x1b]0;" not in stream.getvalue()
        assert "\\x1b]0;" in stream.getvalue()


def test_a_terminal_gets_one_live_line_that_is_gone_at_the_end(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Screen()
    watch = watching(screen)
    assert isinstance(watch, Live)
    with watch:
        watch(START)
        watch(counts(3, exhausted=True))
        watch.say("Finishing what is in flight; press again to stop at once.")
    shown = screen.getvalue()
    assert "p: 3 of 3 read, 1 passed" in shown
    assert "Finishing what is in flight" in shown
    assert shown.endswith("\x1b[2K")


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(watching(Screen()), Plain)
