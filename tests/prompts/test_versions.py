from __future__ import annotations

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.prompts import lock_prompts

V1 = "---\nversion: v1\n---\n{{ input.x }}"
EDITED = "---\nversion: v1\n---\n{{ input.x }}!"
CI = {"CI": "true"}


def levels(problems):
    return [p.split(":")[0] for p in problems]


def test_the_version_is_that_of_the_file_else_the_pin_else_the_content(shop):
    assert shop.prompt("---\nversion: 2.10\n---\n{{ input.x }}").version == "2.10"
    assert shop.prompt("{{ input.x }}", ", prompt_version: 0123").version == "0123"
    by_content = shop.prompt("{{ input.x }}")
    assert by_content.version == by_content.digest[:12]
    assert shop.prompt("{{ input.x }}!").version != by_content.version


def test_a_pin_that_is_not_the_files_version_names_both_places(shop):
    prompt, problems = shop.compile(V1, ", prompt_version: v2")
    assert prompt is None
    assert problems[0].startswith(
        "error: pipelines/x.yaml:3: `prompt_version` is v2, but the prompt is version v1 (prompts/p.txt:2)"
    )


def test_what_has_no_version_needs_no_lock(shop):
    assert shop.compile("{{ input.x }}", strict=True)[1] == []


def test_a_version_that_is_not_locked_warns_and_fails_when_strict_or_in_ci(shop):
    prompt, problems = shop.compile(V1)
    assert prompt is not None
    assert problems == [
        (
            "warning: prompts/p.txt:2: version v1 of prompt `p` is not in prompts/versions.lock "
            "(run `loom prompts lock` and commit the file)"
        )
    ]
    assert levels(shop.compile(V1, strict=True)[1]) == ["error"]
    assert levels(shop.compile(V1, environ=CI)[1]) == ["error"]


def test_a_locked_version_is_quiet_until_its_content_changes(shop):
    shop.compile(V1)
    assert [str(line)[:12] for line in lock_prompts(shop.settings)] == ["locked p v1 "]
    assert shop.compile(V1, strict=True, environ=CI)[1] == []
    assert lock_prompts(shop.settings) == []
    prompt, problems = shop.compile(EDITED)
    assert prompt is not None
    assert "was changed, but is still version v1" in problems[0]
    assert levels(problems) == ["warning"]
    assert levels(shop.compile(EDITED, strict=True)[1]) == ["error"]
    assert levels(shop.compile(EDITED, environ=CI)[1]) == ["error"]


def test_a_pinned_version_that_changed_is_always_an_error(shop):
    shop.compile(V1)
    lock_prompts(shop.settings)
    prompt, problems = shop.compile(EDITED, ", prompt_version: v1")
    assert prompt is None
    assert "pinned at pipelines/x.yaml:3" in problems[0]


def test_a_prompt_that_only_its_pipeline_versions_is_locked_by_the_pin(shop):
    shop.compile("{{ input.x }}", ", prompt_version: v7")
    assert [(line.name, line.version) for line in lock_prompts(shop.settings)] == [("p", "v7")]
    assert shop.compile(None, ", prompt_version: v7", strict=True)[1] == []
    assert shop.compile("{{ input.x }}!", ", prompt_version: v7")[0] is None


def test_a_locked_version_is_never_overwritten_but_by_force(shop):
    shop.compile(V1)
    lock_prompts(shop.settings)
    lock = shop.root / "prompts" / "versions.lock"
    before = lock.read_bytes()
    shop.compile(EDITED)
    shop.write("prompts/other.md", "---\nversion: 1\n---\n{{ input.x }}")
    with pytest.raises(Misconfigured, match="locked with another content"):
        lock_prompts(shop.settings)
    assert lock.read_bytes() == before
    changed = lock_prompts(shop.settings, force=True)
    assert [(line.name, bool(line.was)) for line in changed] == [("other", False), ("p", True)]
    assert shop.compile(EDITED, strict=True)[1] == []


def test_old_versions_stay_in_the_lock_and_names_may_be_anything(shop):
    (shop.root / "prompts" / "sub").mkdir()
    shop.write('prompts/sub/a "b" 🧵.txt', "---\nversion: v 1\n---\n{{ input.x }}")
    shop.compile(V1)
    lock_prompts(shop.settings)
    shop.compile("---\nversion: v2\n---\n{{ input.x }}?")
    lock_prompts(shop.settings)
    assert shop.compile(V1, strict=True)[1] == []
    assert lock_prompts(shop.settings) == []


@pytest.mark.parametrize("lock", ["[", "p = 1", "[p]\nv1 = 2", b"\xff"])
def test_a_lock_that_cannot_be_read_is_a_problem_not_a_licence(shop, lock):
    shop.write("prompts/versions.lock", lock)
    prompt, problems = shop.compile(V1)
    assert prompt is None
    assert problems[0].startswith("error: prompts/versions.lock")
    with pytest.raises(Misconfigured):
        lock_prompts(shop.settings)
