import io
from dataclasses import dataclass, field

import pytest

from loom_dagster.cli.progress import Plain
from loom_dagster.cli.run import parameters, report, run_direct
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured, Outage
from loom_dagster.pipeline.outcome import Counts, LoadResult, Outcome, Verdict
from loom_dagster.settings import RunOptions


@dataclass
class Project:
    reads: dict

    def upstream(self, name):
        return self.reads.get(name, ())


@dataclass
class Loom:
    """What run_direct needs of a Loom: pipelines that end as they are told to."""

    reads: dict = field(default_factory=dict)
    ends: dict = field(default_factory=dict)
    on_run: object = None
    ran: list = field(default_factory=list)
    loaded: list = field(default_factory=list)

    @property
    def project(self):
        return Project(self.reads)

    def run(self, name, options, *, partition, listen, stop):
        self.ran.append((name, partition) if partition else name)
        end = self.ends.get(self.ran[-1], "succeeded")
        if self.on_run is not None:
            self.on_run(stop)
        if isinstance(end, Exception):
            raise end
        good = end == "succeeded"
        return Outcome(
            run_id=f"run-{name}", pipeline=name, version="1", status=end, released=good, trial=options.trial,
            partition=partition, counts=Counts(extracted=2, passed=2), verdict=Verdict(passed=good, reason="because"),
        )  # fmt: skip

    def load(self, name, options, *, partition):
        if name in self.ends.get("cannot load", ()):
            raise Outage("the destination is down")
        self.loaded.append((name, partition) if partition else name)
        return LoadResult(loaded=True, destination="d", mode="append", rows=2)


def run(loom, names, options=None):
    keys = names if isinstance(names, dict) else {name: [""] for name in names}
    watch = Plain(Terminal(io.StringIO(), {}))
    return run_direct(loom, keys, options or RunOptions(), watch)


def test_each_runs_after_those_it_reads_and_is_loaded():
    loom = Loom(reads={"a": ("b",), "b": ("c",)})
    assert [e.exit_code for e in run(loom, ["a", "b", "c"])] == [0, 0, 0]
    assert loom.ran == loom.loaded == ["c", "b", "a"]


def test_what_reads_from_a_held_one_is_not_run_and_the_others_are(capsys):
    loom = Loom(reads={"reader": ("held",), "reader_of_reader": ("reader",)}, ends={"held": "held"})
    ended = run(loom, ["held", "reader", "reader_of_reader", "other"])
    assert sorted(loom.ran) == ["held", "other"]
    assert loom.loaded == ["other"]
    assert report(ended, as_json=False) == 1
    shown = capsys.readouterr().out
    assert "not run: it reads from held" in shown
    assert "not run: it reads from reader" in shown


def test_the_worst_exit_code_wins_and_an_error_does_not_end_the_others(capsys):
    loom = Loom(ends={"bad": Misconfigured("no such file", where="pipelines/bad.yaml:3"), "held": "held"})
    ended = run(loom, ["bad", "held", "good"])
    assert sorted(loom.ran) == ["bad", "good", "held"]
    assert report(ended, as_json=False) == 2
    assert "Error: pipelines/bad.yaml:3: no such file" in capsys.readouterr().err


def test_a_load_that_fails_keeps_the_outcome_fails_the_command_and_is_no_success_on_the_page(capsys):
    [ended] = run(Loom(ends={"cannot load": ["a"]}), ["a"])
    assert ended.outcome.counts.passed == 2
    assert ended.exit_code == 1
    assert ended.document()["error"]["kind"] == "outage"
    assert report([ended], as_json=False) == ended.exit_code
    shown = capsys.readouterr().out
    assert "Stopped: not loaded: the destination is down" in shown
    assert "successfully" not in shown


def test_a_trial_loads_nothing_and_waits_for_nobody():
    loom = Loom(reads={"a": ("b",)}, ends={"b": "held"})
    run(loom, ["a", "b"], RunOptions(limit=5))
    assert sorted(loom.ran) == ["a", "b"]
    assert loom.loaded == []


def test_after_an_interrupt_no_other_pipeline_begins():
    loom = Loom(ends={"a": "interrupted"}, on_run=lambda stop: stop.request())
    ended = run(loom, ["a", "b"])
    assert loom.ran == ["a"]
    assert [e.exit_code for e in ended] == [130]


def test_parameters():
    assert parameters(["day=2026-01-01", "q=a=b", "empty="]) == {"day": "2026-01-01", "q": "a=b", "empty": ""}
    for bad in (["day"], ["=x"], ["a=1", "a=2"]):
        with pytest.raises(Misconfigured):
            parameters(bad)


def test_partitions_are_run_in_order_and_wait_for_their_own_upstream_only():
    days = ["2024-01-01", "2024-01-02"]
    loom = Loom(reads={"b": ("a",), "whole": ("a",)}, ends={("a", days[0]): "held"})
    ended = run(loom, {"whole": [""], "b": days, "a": days})
    assert loom.ran[:2] == [("a", days[0]), ("a", days[1])]
    assert {*loom.ran[2:]} == {"whole", ("b", days[1])}
    assert {*loom.loaded} == {("a", days[1]), ("b", days[1]), "whole"}
    [waiting] = [each for each in ended if each.waits_for]
    assert (waiting.name, waiting.partition, waiting.waits_for) == ("b", days[0], ("a",))
