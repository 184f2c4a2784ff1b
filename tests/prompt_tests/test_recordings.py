"""Answers kept beside the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.evaluate import Judgement
from loom_dagster.prompt_tests.recordings import Recorded, Recording, recording_path
from loom_dagster.records import Answer, Usage


def recorded(n: int, of: str = "case") -> Recorded:
    answer = Answer(
        key=bytes([n]) * 32,
        model="openai/m",
        text='{"a": "é\n\u2028"}',
        usage=Usage(input_tokens=7, output_tokens=3, cached_tokens=1),
        cost=0.0001 * n,
        latency=0.25,
        simulated=n == 2,
    )
    return Recorded(answer=answer, of=of, purpose="transform")


def reloaded(recording: Recording, *, replays: bool = False) -> Recording:
    return Recording.load(recording.path, recording.shown, replays=replays)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path / "recordings" / "x.jsonl", "tests/recordings/x.jsonl")


def test_an_answer_comes_back_as_it_was(recording: Recording) -> None:
    for n in (1, 2):
        recording.keep(recorded(n))
    recording.write(whole=True)
    for n in (1, 2):
        found = reloaded(recording).answer(bytes([n]) * 32)
        wanted = recorded(n).answer
        assert found is not None
        assert found.reused
        assert (found.text, found.usage, found.cost, found.latency) == (
            wanted.text, wanted.usage, wanted.cost, wanted.latency,
        )  # fmt: skip
        assert found.simulated == (n == 2)


def test_the_file_does_not_depend_on_the_order_of_answers(recording: Recording) -> None:
    entries = [recorded(n, of) for n, of in ((3, "b"), (1, "b"), (2, "a"))]
    for entry in entries:
        recording.keep(entry)
    recording.keep(recorded(3, "a"))  # another case asks the same: it stands with the first by name
    recording.write(whole=True)
    one = recording.path.read_bytes()
    again = Recording(recording.path, recording.shown)
    again.keep(recorded(3, "a"))
    for entry in reversed(entries):
        again.keep(entry)
    again.write(whole=True)
    assert recording.path.read_bytes() == one
    assert b'"case": "a", "for": "transform", "key": "02' in one.splitlines()[0]


def test_what_is_not_used_any_more_goes_when_every_case_was_run(recording: Recording) -> None:
    for n in (1, 2):
        recording.keep(recorded(n))
    recording.write(whole=True)
    later = reloaded(recording)
    later.keep(recorded(2))
    assert [entry.answer.key[0] for entry in later.unused] == [1]
    later.write(whole=False)
    assert len(reloaded(recording).entries) == 2
    later.write(whole=True)
    assert list(reloaded(recording).entries) == [bytes([2]) * 32]


def test_a_judgement_is_replayed_with_its_answers_only(recording: Recording) -> None:
    answer = recorded(1)
    recording.keep(answer)
    judgement = Judgement(value=0.9, explanation="fits", answers=(answer.answer,))
    key = b"j" * 32
    recording.keep_judgement(key, judgement, of="case", purpose="score:quality")
    assert recording.judgement(key) is None  # to be recorded, judges are asked
    recording.write(whole=True)
    found = reloaded(recording, replays=True).judgement(key)
    assert found is not None
    assert (found.value, found.explanation, found.answers[0].text) == (0.9, "fits", answer.answer.text)
    lines = recording.path.read_text().splitlines()
    recording.path.write_text("\n".join(line for line in lines if '"score:quality"' in line))
    assert reloaded(recording, replays=True).judgement(key) is None


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "{}",
        '{"key": "00"}',
        '{"score": true}',
        '{"key": 3}',
        "\x00",
        "[" * 100_000,
        '{"score": 1e999, "key": "00"}',
    ],
)
def test_a_broken_line_is_named(recording: Recording, line: str) -> None:
    recording.keep(recorded(1))
    recording.write(whole=True)
    with recording.path.open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(Misconfigured, match=r"tests/recordings/x.jsonl:3: the recording is broken"):
        reloaded(recording, replays=True)


def test_a_merge_conflict_is_named_and_the_next_recording_mends_it(recording: Recording) -> None:
    for n in (1, 2):
        recording.keep(recorded(n))
    recording.write(whole=True)
    ours, theirs = recording.path.read_text().splitlines()
    said = f"\ufeff<<<<<<< HEAD\n{ours}\n=======\n{theirs}\n>>>>>>> other\n"
    recording.path.write_text(said, encoding="utf-8")
    with pytest.raises(Misconfigured, match="a merge conflict is not resolved") as told:
        reloaded(recording, replays=True)
    assert told.value.where == "tests/recordings/x.jsonl:1"
    again = reloaded(recording)
    again.keep(recorded(3))
    again.write(whole=False)
    assert len(reloaded(recording, replays=True).entries) == 3


def test_two_who_record_parts_at_once_keep_both(recording: Recording) -> None:
    other = reloaded(recording)
    recording.keep(recorded(1))
    other.keep(recorded(2))
    recording.write(whole=False)
    other.write(whole=False)
    assert len(reloaded(recording).entries) == 2


def test_a_recording_stands_beside_its_suite() -> None:
    assert recording_path(Path("p/tests/x_test.yaml")) == Path("p/tests/recordings/x.jsonl")
