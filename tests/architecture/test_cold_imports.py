"""What may not be imported before it is needed: it is what makes `loom --help` and a code location slow."""

from __future__ import annotations

import pytest

DRIVERS = {"adlfs", "aiobotocore", "boto3", "confluent_kafka", "gcsfs", "psycopg2", "redis", "s3fs"}
JUDGES = {"arbiter_ai", "litellm", "openai", "pydantic_ai"}

COLD = {
    "import loom_dagster.cli.main": {
        "aiohttp",
        "dagster",
        "pandas",
        "pyarrow",
        "sqlalchemy",
        *JUDGES,
        *DRIVERS,
    },
    "import loom_dagster.spec, loom_dagster.prompts": {"dagster", "pandas", "pyarrow", *JUDGES, *DRIVERS},
    "import loom_dagster.assembly": {"aiohttp", "dagster", "pandas", *JUDGES, *DRIVERS},
    "import definitions": {"pandas", *JUDGES, *DRIVERS},
}


@pytest.mark.parametrize("statement", COLD)
def test_import_brings_nothing_heavy(run_python, statement):
    result = run_python(f"{statement}\nimport sys\nprint(*sys.modules)")
    assert result.returncode == 0, result.stderr
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert not loaded & COLD[statement]


def test_help_of_every_command_brings_nothing_heavy(run_python):
    result = run_python(
        "import sys\n"
        "from loom_dagster.cli.main import run_cli\n"
        "for words in (['run'], ['stream'], ['validate'], ['quarantine', 'retry'], ['release'], ['report'], ['metrics'], ['ui']):\n"
        "    assert run_cli([*words, '--help']) == 0, words\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    assert result.returncode == 0, result.stderr
    loaded = {name.partition(".")[0] for name in result.stderr.split()}
    assert not loaded & COLD["import loom_dagster.cli.main"]
