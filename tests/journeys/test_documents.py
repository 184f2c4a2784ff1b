"""A folder of documents becomes a table of summaries; where the model's is not good enough, an extractive one."""

from __future__ import annotations

import json

import pytest

from tests.journeys.project import Project
from tests.servers.llm import LLMServer

pytestmark = pytest.mark.service

GOOD = "Pumps were tested. All of them passed. The report is short."
POOR = "The leak came from a valve. It rained. The valve was replaced after the leak. A dog barked."


def summarising(project: Project, server: LLMServer, extract: dict[str, object], **load: object) -> None:
    project.environ = {"OPENAI_API_KEY": "k"}
    project.write("docs/raw/good.md", GOOD)
    project.write("docs/raw/poor.txt", POOR)
    project.write("docs/raw/scan.pdf", b"%PDF-1.4 \0")
    project.write("prompts/summarize.txt", "Summarize this document:\n{{ input.text }}")
    project.pipeline(
        "summaries",
        extract=extract,
        transform={"prompt": "prompts/summarize.txt", "model": "openai/any", "api_base": server.base_url},
        evaluate={"evaluators": [{"type": "regex", "pattern": "^Summary"}]},
        load=load,
    )
    path = project.root / "pipelines/summaries.yaml"
    text = path.read_text()
    for line in ("  key: id\n",):
        text = text.replace(line, "")
    path.write_text(text[: text.index("  schema:")] + text[text.index("  on_failure") :])


def answer(request: dict[str, object]) -> str:
    return "Summary: pumps." if "Pumps" in str(request["messages"]) else "I cannot."


@pytest.mark.parametrize("extract", [{"source": "docs/raw"}, {"source": "docs/raw", "format": "documents"}])
def test_a_summary_of_the_documents_own_sentences_when_the_models_fails(project: Project, extract) -> None:
    with LLMServer(answer=answer) as server:
        summarising(
            project,
            server,
            extract,
            on_failure="fallback",
            fallback={"summary": {"of": "text", "sentences": 2}},
        )
        done = project.run("summaries")
        asked = server.stats()["paid"]
        assert project.run("summaries").code == 0 and server.stats()["paid"] == asked == 2
    assert done.code == 0, done.err
    assert project.table("out/summaries.parquet") == [
        {"path": "docs/raw/good.md", "output": "Summary: pumps."},
        {
            "path": "docs/raw/poor.txt",
            "output": "The leak came from a valve. The valve was replaced after the leak.",
        },
    ]
    counts = done.outcome["counts"]
    assert (counts["extracted"], counts["passed"], counts["quarantined"]) == (3, 2, 1)
    [kept] = project.loom("quarantine", "list", "summaries", "--json").json["records"]
    assert "PDF" in kept["reason"]


FOUNDING = """
name: doc_summarization
extract:
  source: s3://{bucket}/raw
transform:
  prompt: prompts/summarize_document.txt
  model: openai/any  # Use powerful model
  api_base: {api}
evaluate:
  - factuality
  - completeness
  - no_hallucination
load:
  destination: out/summaries.parquet
  on_failure: fallback  # Use extractive summary
"""


def test_the_example_of_the_founding_documents_works_as_it_is_written(project: Project, s3) -> None:
    bucket = s3.bucket()
    s3.put(bucket, raw___good__md=GOOD.encode(), raw___poor__txt=POOR.encode())

    def judged(request: dict[str, object]) -> str:
        messages = str(request["messages"])
        if "Summarize" in messages and "OUTPUT" not in messages:
            return answer(request)
        return json.dumps(
            {"score": 0.1 if "cannot" in messages else 0.95, "confidence": 0.9, "explanation": "x"}
        )

    with LLMServer(answer=judged) as server:
        project.environ = {"OPENAI_API_KEY": "k", **s3.environ}
        project.write("prompts/summarize_document.txt", "Summarize this document:\n{{ input.text }}")
        project.write("pipelines/doc_summarization.yaml", FOUNDING.format(bucket=bucket, api=server.base_url))
        done = project.run("doc_summarization")
    assert done.code == 0, done.err
    rows = project.table("out/summaries.parquet")
    assert [r["path"] for r in rows] == [f"s3://{bucket}/raw/good.md", f"s3://{bucket}/raw/poor.txt"]
    assert rows[1]["output"].startswith("The leak came from a valve. It rained.")
    everything = (
        done.out
        + done.err
        + "".join(path.read_bytes().decode("latin-1") for path in project.root.rglob("*") if path.is_file())
    )
    assert s3.secret not in everything


def test_rows_that_are_no_documents_need_a_word_about_what_to_fall_back_to(project: Project) -> None:
    project.reviews({"1": "text"}, name="data/reviews/a.parquet")
    project.pipeline(extract={"source": "data/reviews"}, load={"on_failure": "fallback"})
    shown = project.loom("validate", "classify")
    assert shown.code != 0 and "does not say what to fall back to" in shown.out


@pytest.mark.parametrize(
    ("summary", "message"),
    [
        ({"of": "txt"}, "there is no column `txt`"),
        ({"of": "text", "into": "summary"}, "goes into `summary`, which is no text column"),
        ({"sentences": 2}, "of"),
    ],
)
def test_what_cannot_be_summarised_is_known_before_the_first_call(project: Project, summary, message) -> None:
    with LLMServer(answer=answer) as server:
        extract = {"source": "docs/raw"}
        summarising(project, server, extract, on_failure="fallback", fallback={"summary": summary})
        shown = project.loom("validate", "summaries")
        assert shown.code != 0 and message in shown.out + shown.err
        assert server.stats()["requests"] == 0
