"""litellm (4 s) is imported for the first question that needs it, beside the event loop, and else never."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.llm import LLMServer
from tests.servers.providers import ProviderServer, Said

ROOT = Path(__file__).parents[2]
ASK = """
import asyncio, json, sys, threading
from pathlib import Path
from loom_dagster.gateway import Gateway, Model, Origin, Question
from loom_dagster.ledger.answers import AnswerLog

imported_by = []
sys.addaudithook(
    lambda event, given: imported_by.append(threading.current_thread().name)
    if event == "import" and given[0] == "litellm" else None
)

async def main(log, name, base):
    store = AnswerLog(Path(log))
    model = Model(name=name, api_base=base, api_key_env="MINE")
    question = Question(
        model=model,
        messages=[{"role": "user", "content": "hello"}],
        origin=Origin(pipeline="p", record_id="1", purpose="transform"),
    )
    async with Gateway(store, environ={"MINE": "x"}) as gateway:
        before = "litellm" in sys.modules
        answer = await gateway.ask(question)
    store.close()
    return {"before": before, "text": answer.text, "reused": answer.reused, "imported_by": imported_by}

done = asyncio.run(main(*sys.argv[1:]))
done["after"] = sorted({"litellm", "openai", "httpx", "tiktoken"} & set(sys.modules))
print(json.dumps(done))
"""


def ask(*given: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK, *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "form"), [("anthropic/claude-sonnet-4-5", "anthropic"), ("gemini/gemini-2.5-flash", "gemini")]
)
def test_a_stored_answer_imports_no_provider(tmp_path, name, form):
    with ProviderServer() as server:
        server.says(form, Said(text="hi"))
        log = str(tmp_path / "answers.sqlite")
        paid = ask(log, name, server.url)
        server.fails(500, {})
        stored = ask(log, name, server.url)
    assert (paid["text"], paid["reused"], paid["before"]) == ("hi", False, False)
    assert "litellm" in paid["after"]
    assert paid["imported_by"]
    assert "MainThread" not in paid["imported_by"]
    assert stored == {"text": "hi", "reused": True, "before": False, "after": [], "imported_by": []}


@pytest.mark.parametrize("name", ["any", "hosted_vllm/any", "groq/any", "mistral/any", "azure/any"])
def test_the_openai_wire_imports_no_provider(tmp_path, name):
    with LLMServer() as server:
        paid = ask(str(tmp_path / "answers.sqlite"), name, server.base_url)
    assert (paid["text"], paid["reused"], paid["after"]) == ("ok", False, [])
