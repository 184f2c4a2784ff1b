"""`loom report`: what stands on the page of a run, whatever its records say."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import pytest

from loom_dagster.monitors import MonitorResult
from loom_dagster.pipeline.outcome import Counts, Outcome, ScoreSummary, Verdict
from loom_dagster.release import Releases
from tests.reports.made import Row, make_run, many

NASTY = "<script>alert(1)</script>"


class Page(HTMLParser):
    """What a browser would make of it: tags, what they point to, and text."""

    VOID = frozenset({"meta", "link", "img", "br", "rect", "line", "polyline", "circle"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.open, self.words, self.ids = [], [], [], [], []
        self.feed(html)
        assert self.open == [], "every tag is closed"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.links += [
            v for k, v in attrs if k in ("href", "src", "srcset", "action", "data", "xlink:href", "style")
        ]
        self.ids += [v for k, v in attrs if k == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def made(project):
    def of(rows, **how):
        project.clock.time = project.clock.time.replace(microsecond=0)
        with project.ledger() as ledger:
            return make_run(ledger, Releases(ledger, project.root / ".loom"), rows, **how)

    return of


@pytest.fixture
def page(project, tmp_path):
    def of(word, code=0):
        said = project.loom("report", word, "--output", str(tmp_path / "report.html"))
        assert said.code == code, said.err
        return Page((tmp_path / "report.html").read_text("utf-8"))

    return of


def test_a_page_tells_of_a_whole_run(made, page):
    names = ("agrees", "tone")
    made(many(200, names, seed=1), evaluators=names)
    blocking = MonitorResult(
        name="cost_spike", passed=False, reason="twice as dear", value=2.0, threshold=1.0, severity="error", blocking=False
    )  # fmt: skip
    run_id = made(many(300, names), evaluators=names, monitors=(blocking,))
    found = page("reviews")
    assert {
        "scores",
        "reference",
        "worst",
        "failures",
        "cost",
        "before",
        "trends",
        "versions",
        "monitors",
    } <= {*found.ids}
    assert run_id in found.text and "version 2.1.0" in found.text and "released" in found.text
    assert "300 records" in found.text and "cost_spike : twice as dear" in found.text
    assert "openai/gpt-4o" in found.text and "prompt classify v2" in found.text
    assert "Over the last 2 runs" in found.text


def test_every_picture_says_in_words_what_it_shows(made, page):
    made(many(50, ("agrees",)), evaluators=("agrees",))
    found = page("reviews")
    pictures = [attrs for attrs in found.all("svg") if attrs.get("aria-hidden") != "true"]
    assert pictures and all(attrs["role"] == "img" and attrs["aria-label"] for attrs in pictures)
    assert all("scope" in attrs for attrs in found.all("th"))
    assert len(found.all("h1")) == 1 and found.all("html")[0]["lang"] == "en"
    inside = {link[1:] for link in found.links if link.startswith("#")}
    assert inside and inside <= {*found.ids}


def test_the_matrix_counts_what_passed_and_what_did_not(made, page):
    made([
        *(Row(id=f"a{n}") for n in range(3)),
        Row(id="b", expected="negative", answered="positive", scores={"quality": 0.1}),
        Row(id="c", expected="negative", answered="negative"),
        Row(id="d", expected=None),
        Row(id="e", scores={}),
    ])  # fmt: skip
    text = page("reviews").text
    assert "4 of 5 judged records agree (80.0%)" in text
    assert re.search(r"negative 1 1 50.0% positive 0 3 100% precision 100% 75.0%", text)


def test_a_field_with_too_many_values_gets_no_matrix(made, page):
    made(Row(id=str(n), expected=f"e{n}", answered=f"e{n}" if n % 2 else "other") for n in range(100))
    found = page("reviews")
    assert "50 of 100 judged records agree" in found.text and "too many different values" in found.text
    assert not [attrs for attrs in found.all("table") if attrs.get("class") == "matrix"]


def test_the_worst_records_come_first_with_source_output_and_reason(made, page):
    made([
        *(Row(id=f"good{n}", scores={"quality": 0.95}) for n in range(30)),
        Row(id="barely", scores={"quality": 0.61}, review="Not bad.", reasoning="It said so."),
        Row(id="bad", scores={"quality": 0.2}, review="Terrible.", explanation="Beside the point."),
        Row(id="silent", scores={"quality": None}),
    ])  # fmt: skip
    found = page("reviews")
    text = found.text[found.text.index("The 20 with the lowest scores") :]
    assert text.index("silent") < text.index("bad ") < text.index("barely") < text.index("good0")
    assert "quality no score" in text
    assert "Terrible." in text and "Beside the point." in text and "0.20 < 0.60" in text
    assert "Not bad." in text and "It said so." in text, "what passed is read from its table"
    assert len(found.all("details")) == 20


def test_reasons_that_are_alike_are_counted_together(made, page):
    made([
        *(Row(id=f"t{n}", scores={}, kind="timeout", reason=f"no answer after {n} s from host `h{n}`") for n in range(40)),
        *(Row(id=f"r{n}", scores={}, reason="the model refused to answer") for n in range(7)),
        *(Row(id=f"q{n}", scores={"quality": 0.3}, explanation="The tone is rude.") for n in range(5)),
        Row(id="fine"),
    ])  # fmt: skip
    text = page("reviews").text
    text = text[text.index("Reasons that are alike") :]
    assert "40 transform timeout 40 × no answer after 0 s from host `h0` e.g. t0 , t1 , t2" in text
    assert "7 transform refused 7 × the model refused" in text
    assert "5 evaluate quality 5 × The tone is rude." in text


def test_the_run_before_is_beside_it_and_chance_is_told_from_change(made, page):
    before = made(Row(id=str(n), scores={"quality": 0.7 + n % 20 / 100}) for n in range(400))
    made(Row(id=str(n), scores={"quality": 0.8 + n % 20 / 100}) for n in range(400))
    text = page("reviews").text
    assert f"Run {before}" in text
    assert "quality, mean 0.895 0.795 +0.100 more than chance: 95% interval +0.092 to +0.108" in text
    assert "pass rate 100% 100% +0.0 points within chance" in text


def test_what_a_record_says_is_text_and_nothing_else(made, page):
    mean = [
        '"><img src=x onerror=alert(1)>',
        "</dd></div><h1>mine</h1>",
        "{{ 7919 * 7907 }}",
        "{% include 'x' %}",
        "\x00\x1b[31m",
    ]
    made([
        Row(id=NASTY, review=NASTY, answered=NASTY, expected=NASTY, reasoning="https://evil.example/x.js", explanation=NASTY, scores={"quality": 0.1}),
        *(Row(id=f"{n}{text}", review=text, reasoning=text, answered=text, scores={}, kind="refused", reason=text) for n, text in enumerate(mean)),
        Row(id="passed", review=NASTY, scores={"quality": 0.65}),
        *(Row(id=f"ok{n}") for n in range(9)),
    ], evaluators=("quality",))  # fmt: skip
    found = page("reviews")
    assert not found.all("script") and not found.all("img") and len(found.all("h1")) == 1
    assert found.text.count(NASTY) >= 5 and "{{ 7919 * 7907 }}" in found.text and "62615533" not in found.text
    assert not [attrs for _, attrs in found.tags for name in attrs if name.startswith("on")]
    assert "\x00" not in found.text


def test_it_needs_nothing_from_outside(made, page, tmp_path):
    made(many(100, ("agrees",)), evaluators=("agrees",))
    found = page("reviews")
    html = (tmp_path / "report.html").read_text("utf-8")
    assert all(link.startswith(("#", "--heat:", "width:")) for link in found.links)
    assert "//" not in html and "url(" not in html and "@import" not in html
    assert not found.all("link") and not found.all("script")
    [policy] = [m["content"] for m in found.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy


def test_long_texts_are_cut_and_a_wide_record_too(made, page, tmp_path):
    made(
        [
            Row(id="x" * 5000, review="word" * 30_000, scores={"quality": 0.1}, explanation="y" * 9000),
            Row(id="ok"),
        ]
    )
    found = page("reviews")
    assert "…" in found.text and "word" * 101 not in found.text
    assert (tmp_path / "report.html").stat().st_size < 60_000


def test_a_run_that_never_ended_has_a_page(project, page):
    with project.ledger() as ledger:
        run = ledger.begin_run("reviews", "", "f")
        ledger.leave_run(run)
    text = page(run.run_id).text
    assert "open" in text and "did not come to its end" in text and "left no tables" in text


def test_files_that_were_cleaned_away_leave_what_the_ledger_knows(project, made, page):
    made(many(60, ("agrees",)), evaluators=("agrees",))
    shutil.rmtree(project.root / ".loom" / "datasets")
    found = page("reviews")
    assert "cleaned away" in found.text
    assert {"scores", "failures", "cost"} <= {*found.ids} and "worst" not in found.ids


def test_a_broken_table_is_an_error_with_its_place(project, made, page):
    made([Row(id="a")])
    [table] = (project.root / ".loom" / "datasets").rglob("transformed.parquet")
    table.write_bytes(b"PAR1 no")
    said = project.loom("report", "reviews")
    assert said.code == 2 and "cannot be read" in said.err and "--fresh" in said.err


def test_trials_can_be_looked_at_by_their_id(project, made, page):
    run = made([Row(id="a"), Row(id="b", scores={"quality": 0.1})], partition="~trial")
    assert "trial" in page(run).text
    project.pipeline("reviews")
    said = project.loom("report", "reviews")
    assert said.code == 2 and "no run yet" in said.err


def test_nobody_was_asked_and_nothing_came(made, page):
    made([], evaluators=())
    assert "0 records" in page("reviews").text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reviewz"], "did you mean `reviews`"),
        (["20990101T000000-abcdef"], "no run and no pipeline"),
        (["reviews", "--output", "/dev/null/x.html"], "/dev/null/x.html"),
        (["reviews", "--output", "/"], "a folder of that name"),
        (["reviews", "--output", "/nowhere/at/all.html"], "No such file"),
    ],
)
def test_what_cannot_be_is_said(project, made, words, said):
    project.pipeline("reviews")
    made([Row(id="a")])
    found = project.loom("report", *words)
    assert found.code == 2
    assert said in found.err


def test_by_default_it_lies_with_what_the_project_makes(project, made):
    run = made([Row(id="a")])
    found = project.loom("report", "reviews", "--json").json
    assert found["path"] == str(project.root / ".loom" / "reports" / f"reviews-{run}.html")
    assert (project.root / ".loom" / "reports").is_dir()


def test_a_batch_that_a_person_let_through_says_who_and_why(project, made, page):
    run = made([Row(id=str(n), scores={"quality": 0.2}) for n in range(4)] + [Row(id="fine")])
    assert "held" in page(run).text
    with project.ledger() as ledger:
        ledger.release("reviews", who="ada", why="<b>looked</b> at it")
    found = page(run)
    assert "Released by ada" in found.text and "<b>looked</b> at it" in found.text
    assert "Not passed: 1 of 5 records passed" in found.text


def test_a_run_that_was_interrupted_shows_how_far_it_came(project, page):
    score = ScoreSummary(
        name="quality", type="regex", threshold=0.5, passed=3, failed=1, errors=0, mean=0.75, std=0.4, min=0.0, max=1.0,
        histogram=(1, 0, 0, 0, 0, 0, 0, 0, 0, 3),
    )  # fmt: skip
    with project.ledger() as ledger:
        run = ledger.begin_run("reviews", "", "f")
        outcome = Outcome(
            run_id=run.run_id, pipeline="reviews", version=None, status="interrupted",
            counts=Counts(extracted=9, passed=3, quarantined=1, deferred=5),
            verdict=Verdict(passed=False, reason="the run was interrupted"), scores=(score,),
            reasons={"evaluate: quality": 1}, stopped_by="a key was refused",
        )  # fmt: skip
        ledger.finish_run(run, "interrupted", outcome=outcome.as_dict(), metrics={"extracted": 9.0})
    found = page("reviews")
    for words in (
        "open",
        "left no tables",
        "Stopped: a key was refused",
        "5 deferred",
        "4 scores",
        "1 below 0.50",
    ):
        assert words in found.text, words
    assert "failures" in found.ids and "worst" not in found.ids
