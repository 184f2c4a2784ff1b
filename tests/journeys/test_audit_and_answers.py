"""Who did what is kept and can be checked; answers are counted, and forgotten on somebody's word."""

from __future__ import annotations

import sqlite3

from tests.journeys.project import Project


def held(project: Project) -> None:
    project.environ = {"LOOM_USER": "ada"}
    project.reviews({f"r{i}": f"text {i}" for i in range(4)})
    exact = {"name": "agrees", "type": "exact_match", "field": "sentiment", "reference_field": "text"}
    project.pipeline(evaluate={"evaluators": [exact], "batch_threshold": 0.9})
    assert project.run().code == 1


def test_a_release_and_what_is_resolved_are_told_with_who_and_why(project: Project) -> None:
    held(project)
    assert project.loom("release", "classify", "--why", "checked by hand", "--no-load").code == 0
    assert project.loom("quarantine", "resolve", "classify", "r1", "r2", "--why", "spam").code == 0
    shown = project.loom("audit", "classify")
    assert shown.code == 0
    newest, oldest = shown.out.splitlines()[1:]
    for words, line in ((("resolve", "spam", "2 records"), newest), (("release", "checked by hand"), oldest)):
        assert all(word in line for word in ("ada", "classify", *words))
    assert [e["action"] for e in project.loom("audit", "--action", "release", "--json").json["entries"]] == [
        "release"
    ]


def test_an_entry_that_was_changed_is_found(project: Project) -> None:
    held(project)
    project.loom("release", "classify", "--why", "checked by hand", "--no-load")
    checked = project.loom("audit", "--verify")
    assert (checked.code, "1 entry, each as it was written" in checked.out) == (0, True)
    db = sqlite3.connect(project.root / ".loom" / "ledger.sqlite")
    db.executescript("DROP TRIGGER audit_no_update; UPDATE audit SET who = 'eve';")
    db.close()
    checked = project.loom("audit", "--verify")
    assert (checked.code, "Entry 1: it was changed after it was written" in checked.out) == (1, True)


def test_answers_are_counted_and_forgotten_with_a_reason(project: Project) -> None:
    project.reviews({f"r{i}": f"text {i}" for i in range(4)})
    project.pipeline()
    project.run()
    told = project.loom("answers", "--json").json
    assert (told["answers"], told["groups"][0]["prompt"].partition("@")[0]) == (4, "classify")
    gone = project.loom("answers", "forget", "--record", "r2", "--why", "asked to", "--json")
    assert gone.json == {"forgotten": 1}
    [entry] = project.loom("audit", "--json").json["entries"]
    assert (entry["action"], entry["why"]) == ("answers_forget", "asked to")
    assert entry["detail"] == {"answers": 1, "record": "r2"}
    again = project.run("classify", "--fresh").outcome
    assert (again["spending"]["calls"], again["spending"]["reused"]) == (1, 3)
    nobodys = project.loom("answers", "forget", "--record", "r9", "--why", "asked to")
    assert (nobodys.code, "loom lineage PIPELINE --record ID" in " ".join(nobodys.out.split())) == (0, True)


def test_what_is_not_there_is_named(project: Project) -> None:
    project.reviews({"r1": "text"})
    project.pipeline()
    assert "Nobody did anything" in project.loom("audit").out
    project.run()
    for words, said in (
        (("audit", "clasify"), "classify"),
        (("audit", "--since", "yesterday"), "`yesterday` is not a time"),
        (("answers", "forget", "--why", "x"), "give a record, a prompt or a model"),
        (("answers", "forget", "--prompt", "clasify", "--why", "x"), "did you mean `classify`?"),
        (("answers", "forget", "--record", "r1", "--why", " "), "--why is empty"),
    ):
        refused = project.loom(*words)
        assert (refused.code, said in refused.err) == (2, True), refused.err
