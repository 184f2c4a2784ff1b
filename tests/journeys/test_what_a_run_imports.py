"""What a run does not need is not imported: it costs seconds and a hundred megabytes."""

from __future__ import annotations

import subprocess
import sys

from tests.journeys.project import Project
from tests.servers.llm import LLMServer

RUN = """
import sys
from loom_dagster.cli import main
sys.argv = ["loom", "run", "classify", "--direct", "--json", "--project", "."]
try:
    main.main()
finally:
    places = {name for name in sys.modules if name.startswith(("loom_dagster.connectors.", "sqlalchemy.dialects."))}
    print("modules", *{name.partition(".")[0] for name in sys.modules} | places, file=sys.stderr)
"""


def imported(project: Project) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env=project.env,
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rpartition("modules ")[2].split())


def test_a_rerun_from_the_answer_store_imports_no_provider(project: Project) -> None:
    project.reviews({str(i): f"good {i}" for i in range(5)})
    project.environ = {"OPENAI_API_KEY": "none"}
    with LLMServer(text='{"sentiment": "positive"}') as server:
        project.pipeline(transform={"model": "openai/any", "api_base": server.base_url})
        first = imported(project)
    again = imported(project)  # nobody would answer any more
    assert "aiohttp" in first
    assert not again & {"aiohttp", "litellm", "openai"}
    never = {"pandas", "logfire", "dagster", "rich", "arbiter_ai", "pydantic_ai", "litellm"}
    assert not (first | again) & never
    # files need no database's dialects: a third of a second, on every start
    others = {"loom_dagster.connectors.sql", "loom_dagster.connectors.duckdb", "loom_dagster.connectors.web"}
    assert not again & {*others, "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.mysql"}
    assert len(project.table()) == 5


def test_a_pipeline_may_still_use_pandas_itself(project: Project) -> None:
    project.reviews({"1": "good"})
    project.write(
        "checks.py",
        "import pandas as pd\n"
        "import pyarrow as pa\n"
        "def shape(record, output):\n"
        "    frame = pa.table({'n': [1, None]}).to_pandas()\n"
        "    assert isinstance(frame, pd.DataFrame)\n"
        "    return float(pa.array(frame['n']).null_count == 1)\n",
    )
    project.pipeline(
        evaluate={"evaluators": [{"name": "shape", "type": "python", "function": "checks:shape"}]}
    )
    run = project.run()
    assert (run.code, run.outcome["counts"]["passed"]) == (0, 1), run.out
