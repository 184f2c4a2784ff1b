"""What prompts and contexts of past runs said, each text once."""

from __future__ import annotations

import pytest

from loom_dagster.ledger import Ledger, SnapshotRow, VersionRow


@pytest.fixture
def ledger(path, clock):
    with Ledger(path, clock=clock) as ledger:
        yield ledger


def version(kind, name, text, version="v1"):
    from loom_dagster.prompts import content_digest

    return VersionRow(kind=kind, name=name, version=version, hash=content_digest(text), text=text)


def end(ledger, clock, versions, *, partition="", snapshot=False):
    run = ledger.begin_run("p", partition, "f")
    kept = None
    if snapshot:
        kept = SnapshotRow(
            run_id=run.run_id, pipeline="p", partition=partition, created_at=clock.now(), folder=f"{run.run_id}.2",
            data_version="d", counts={}, verdict_passed=True, verdict_reason="",
        )  # fmt: skip
    ledger.finish_run(run, "succeeded", outcome={}, versions=versions, snapshot=kept)
    clock.move(60)
    return run.run_id


def test_texts_are_kept_with_the_run_that_used_them(ledger, clock):
    prompt, context = version("prompt", "p", "Say {{ input.x }}"), version("context", "c", "größe 🙂")
    model = VersionRow(kind="model", name="m", version="", hash="ab")
    end(ledger, clock, [prompt, context, model])
    assert ledger.kept.texts([prompt.hash, context.hash, "ab", "nothing"]) == {
        prompt.hash: prompt.text,
        context.hash: context.text,
    }


def test_a_text_that_is_known_is_kept_once_whatever_it_is_called(ledger, clock):
    one, other = version("prompt", "p", "same"), version("context", "c", "same")
    for versions in ([one, other], [other], [one]):
        end(ledger, clock, versions)
    assert ledger.kept.texts([one.hash]) == {one.hash: "same"}
    assert ledger.kept.texts([]) == {}


def test_a_run_that_is_not_finished_keeps_nothing(ledger):
    run = ledger.begin_run("p", "", "f")
    ledger.leave_run(run)
    assert ledger.kept.texts([version("prompt", "p", "x").hash]) == {}


def test_a_text_with_a_nul_can_be_kept_everywhere(ledger, clock):
    odd = version("prompt", "p", "a\0b")
    end(ledger, clock, [odd])
    assert ledger.kept.texts([odd.hash]) == {odd.hash: "a\\u0000b"}


def test_places_of_snapshots_are_newest_first_and_trials_only_by_name(ledger, clock):
    runs = {p: end(ledger, clock, [], partition=p, snapshot=True) for p in ("a", "b", "~trial")}
    assert [(p.run_id, p.partition, p.folder) for p in ledger.kept.places("p")] == [
        (runs["b"], "b", f"{runs['b']}.2"),
        (runs["a"], "a", f"{runs['a']}.2"),
    ]
    assert [p.run_id for p in ledger.kept.places("p", "a")] == [runs["a"]]
    assert [p.partition for p in ledger.kept.places("p", run_id=runs["~trial"])] == ["~trial"]
    assert ledger.kept.places("other") == []
