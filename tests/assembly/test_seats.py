"""A consumer's name outlives its process, two at once have two, and notes are kept until they are not needed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

from loom_dagster.assembly.seat import Notes, Seat


def test_who_comes_back_has_its_name_and_two_at_once_have_two(tmp_path):
    with closing(Seat(tmp_path)) as first, closing(Seat(tmp_path)) as second:
        names = first.name, second.name
        assert len(set(names)) == 2
    with closing(Seat(tmp_path)) as again:
        assert again.name == names[0]
    with closing(Seat(tmp_path / "other")) as elsewhere:
        assert elsewhere.name not in names


def test_a_killed_process_gives_its_seat_back(tmp_path):
    code = (
        "import os, sys, pathlib; from loom_dagster.assembly.seat import Seat\n"
        "seat = Seat(pathlib.Path(sys.argv[1])); print(seat.name, flush=True); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    with closing(Seat(tmp_path)) as seat:
        assert seat.name == killed.stdout.strip()


def test_notes_are_found_by_message_and_forgotten_message_by_message(tmp_path):
    notes = Notes(tmp_path)
    notes.write("run-1", ["a", "b", "c"])
    notes.write("run-2", ["d"])
    assert notes.of(["b", "d", "x"]) == {"run-1": {"b"}, "run-2": {"d"}}
    notes.forget(["a", "b", "d"])
    assert Notes(tmp_path).of(["a", "b", "c", "d"]) == {"run-1": {"c"}}
    notes.forget(["c"])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
