"""A folder of documents becomes a table of summaries; where the model's is not good enough, an extractive one."""

from __future__ import annotations

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
