from __future__ import annotations

import hashlib

PROMPT = "{{ context.domain }}|{{ input.x }}"


def test_a_context_is_taken_from_the_folder_by_its_name(shop):
    shop.write("context/domain.md", "---\nversion: 1.10\ntags: [a]\n---\nWe sell {{ shoes }} {x} $5\n")
    prompt = shop.prompt(PROMPT)
    assert prompt.render({"x": 1})[-1]["content"] == "We sell {{ shoes }} {x} $5|1"
    assert prompt.contexts == {"domain": "1.10"}


def test_a_context_without_version_has_its_hash(shop):
    shop.write("context/domain.txt", "text\r\n")
    assert shop.prompt(PROMPT).contexts == {"domain": hashlib.sha256(b"text\n").hexdigest()[:12]}


def test_a_listed_file_goes_first_and_may_lie_anywhere(shop):
    shop.write("context/domain.md", "from the folder")
    (shop.root / "docs").mkdir()
    shop.write("docs/domain.md", "from the list")
    prompt = shop.prompt(PROMPT, ", context: docs/domain.md")
    assert prompt.render({"x": 1})[-1]["content"] == "from the list|1"


def test_the_digest_follows_the_content_of_what_is_used(shop):
    shop.write("context/domain.md", "one")
    first = shop.prompt(PROMPT).context_digest
    shop.write("context/other.md", "unused")
    assert shop.prompt(PROMPT).context_digest == first
    shop.write("context/domain.md", "two")
    assert shop.prompt(PROMPT).context_digest != first


def test_an_unknown_context_gets_the_nearest(shop):
    shop.write("context/domain.md", "x")
    prompt, problems = shop.compile("one\n{{ context.domian }}{{ input.x }}")
    assert prompt is None
    assert problems == [
        "error: prompts/p.txt:2: there is no context `domian` (context/domian.md) (did you mean `domain`?)"
    ]


def test_a_listed_file_that_is_missing_or_doubled_is_a_problem(shop):
    shop.write("context/domain.md", "x")
    shop.write("context/domain.txt", "x")
    transform = ", context: [context/domian.md, context/domain.md, context/domain.txt]"
    _, problems = shop.compile(PROMPT, transform)
    assert problems == [
        (
            "error: pipelines/x.yaml:3: the context file context/domian.md does not exist "
            "(did you mean `context/domain.md`?)"
        ),
        "error: pipelines/x.yaml:3: two contexts are called `domain` (a context is called by its file name)",
    ]


def test_a_context_that_the_prompt_does_not_use_is_a_warning(shop):
    shop.write("context/domain.md", "x")
    prompt, problems = shop.compile("{{ input.x }}", ", context: [context/domain.md]")
    assert prompt.contexts == {}
    assert problems[0].startswith("warning: pipelines/x.yaml:3: the prompt does not use the context")


def test_a_context_that_cannot_be_read_is_a_problem_with_its_place(shop):
    shop.write("context/domain.md", b"ok\ncaf\xe9")
    assert shop.compile(PROMPT)[1] == ["error: context/domain.md:2: is not UTF-8 text (save it as UTF-8)"]
    shop.write("context/domain.md", "---\nversion: 1\n")
    assert "has no end" in shop.compile(PROMPT)[1][0]


def test_a_context_may_be_a_megabyte_and_be_used_twice(shop):
    shop.write("context/domain.md", "ä" * 500_000 + "\n")
    prompt = shop.prompt("{{ context.domain }}{{ context['domain'] }}{{ input.x }}")
    assert len(prompt.render({"x": "!"})[-1]["content"]) == 1_000_001


def test_a_context_cannot_reach_out_of_its_folder(shop):
    shop.write("secret.md", "x")
    assert "there is no context" in shop.compile("{{ context['../secret'] }}{{ input.x }}")[1][0]
