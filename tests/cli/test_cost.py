"""`loom cost`: what people see of it, and what they are told when they ask for what is not there."""

from __future__ import annotations

import asyncio
import csv
import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from loom_dagster.cli.cost import day_of, wanted
from loom_dagster.cli.main import run_cli
from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Budgets, Ledger
from loom_dagster.records import Account, Usage

PIPELINE = {
    "name": "reviews",
    "version": "2.1.0",
    "extract": {"source": "data/reviews.parquet", "key": "id"},
    "transform": {"prompt": "prompts/classify.txt", "model": "gpt-4o-mini"},
    "evaluate": {"evaluators": [{"name": "sound", "type": "custom_criteria", "criteria": "It fits"}]},
    "monitoring": {"cost_budget": 1.0},
    "load": {"destination": "out/reviews.parquet", "schema": {"label": {"type": "string", "enum": ["good", "bad"]}, "why": "string"}},
}  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "prompts", "pipelines"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.loom]\nmodel = "offline/demo"\n')
    (tmp_path / "prompts" / "classify.txt").write_text(
        "Is this review good or bad? Say why.\n\n{{ input.text }}"
    )
    rows = {
        "id": [f"r{i}" for i in range(300)],
        "text": [f"it was nice {'very ' * (i % 7)}{i}" for i in range(300)],
    }
    rows["kind"] = ["a", "a", "b", "b"] * 75
    pq.write_table(pa.table(rows), tmp_path / "data" / "reviews.parquet")

    def write(**changes):
        (tmp_path / "pipelines" / "reviews.yaml").write_text(
            yaml.safe_dump({**PIPELINE, **changes}, sort_keys=False)
        )

    write()
    tmp_path.joinpath(".loom").mkdir()
    return write


@pytest.fixture
def loom(capsys):
    def run(*args):
        code = run_cli(["cost", *args])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def paid(tmp_path):
    """Money that was spent: ``paid("reviews", "transform", 0.25)``."""

    def pay(pipeline, purpose, cost, *, prompt="classify@v1", lost=0.0):
        with Ledger(tmp_path / ".loom" / "ledger.sqlite") as ledger:
            run = ledger.begin_run(pipeline, "", "f", fresh=True)
            with ledger.spend(run, Budgets(), lambda key, since: None) as spend:
                spend.settle(
                    0,
                    cost,
                    Account(purpose, "gpt-4o-mini", prompt),
                    Usage(input_tokens=1000, output_tokens=50),
                )
                if lost:
                    account = Account(purpose, "gpt-4o-mini", prompt)
                    spend.lose(asyncio.run(spend.reserve(b"k", lost, account)), account)
            ledger.leave_run(run)

    return pay


def test_a_dry_run_needs_no_key_asks_nobody_and_says_where_each_number_is_from(project, loom, tmp_path):
    code, out, _ = loom("reviews", "--dry-run")
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == "Cost Estimate for: reviews (v2.1.0)"
    assert "Records: 300" in lines
    assert lines.count("Calls: 300") == 2
    assert lines.count("Model: gpt-4o-mini ($0.15 in, $0.60 out / 1M tokens)") == 2
    assert "Evaluate (sound):" in lines
    assert "(guessed from the schema)" in out and "o200k_base, its own encoding" in out
    assert "Budget: $1.00 a run (" in out
    assert "gpt-4o-mini, prompts through the batch API" in out
    left = [path.name for path in (tmp_path / ".loom").iterdir()]
    assert left in ([".gitignore", "scratch"], ["scratch", ".gitignore"]), "nothing is written"
    assert not (tmp_path / "out").exists()


def test_what_other_models_would_cost_beside_it(project, loom):
    code, out, _ = loom("reviews", "--dry-run", "--json", "--model", "gpt-4o", "--model", "openai/mystery-9")
    assert code == 0
    found = json.loads(out)
    dear, unknown = found["others"]
    assert dear["cost"] > 10 * found["estimate"]["cost"]
    assert [line["terms"]["model"] for line in dear["lines"]] == ["gpt-4o", "gpt-4o"], (
        "the judge is the same model"
    )
    assert unknown["unpriced"] == ["openai/mystery-9"]
    assert unknown["lines"][0]["input_tokens"] > 1000
    _, page, _ = loom("reviews", "--dry-run", "--model", "openai/mystery-9")
    assert "the price of openai/mystery-9 is not known: declare it under [tool.loom.prices]" in page


def test_a_sample_is_extrapolated_with_wider_bounds(project, loom):
    whole, part = (
        json.loads(loom("reviews", "--dry-run", "--json", *args)[1]) for args in ([], ["--sample", "50"])
    )
    assert (whole["records"], whole["sampled"], part["records"], part["sampled"]) == (300, 300, 300, 50)
    asked, drawn = (found["estimate"]["lines"][0]["input_tokens"] for found in (whole, part))
    assert drawn == pytest.approx(asked, rel=0.03)
    assert round(part["estimate"]["lines"][0]["calls"]) == 300
    assert json.loads(loom("reviews", "--dry-run", "--json", "--sample", "50")[1]) == part, "the same again"


def test_a_judge_that_sees_a_label_alone_is_asked_a_few_times_and_one_that_sees_everything_each_time(
    project, loom
):
    judges = [
        {"name": "agrees", "type": "semantic", "output_field": "label", "reference_field": "kind"},
        {"name": "sound", "type": "semantic", "reference_field": "kind"},
    ]
    project(evaluate={"evaluators": judges})
    code, out, _ = loom("reviews", "--dry-run", "--json")
    assert code == 0, out
    calls = {line["terms"]["purpose"]: round(line["calls"]) for line in json.loads(out)["estimate"]["lines"]}
    assert calls["transform"] == 300
    assert calls["evaluate:agrees"] == 4, "two labels, two kinds"
    assert calls["evaluate:sound"] > 100


def test_a_pipeline_that_asks_in_batches_is_reckoned_by_their_price(project, loom):
    online = json.loads(loom("reviews", "--dry-run", "--json")[1])["estimate"]["lines"][0]
    project(transform={**PIPELINE["transform"], "mode": "batch"})
    code, out, _ = loom("reviews", "--dry-run", "--json")
    assert code == 0
    found = json.loads(out)["estimate"]
    assert found["lines"][0]["cost"] == pytest.approx(online["cost"] / 2)
    assert found["in_batches"] is None, "there is nothing to take instead"


def test_a_budget_that_is_used_already_or_too_small_says_so(project, loom, paid):
    project(monitoring={"cost_budget": {"day": 0.05}})
    paid("reviews", "transform", 0.049)
    _, out, _ = loom("reviews", "--dry-run")
    assert "Budget: $0.0500 a day (UTC) (" in out
    assert "$0.0490 is used already): it will stop the run" in out


def test_a_model_whose_price_nobody_knows_is_no_error(project, loom):
    project(
        transform={"prompt": "prompts/classify.txt", "model": "openai/mystery-9"}, evaluate={"evaluators": []}
    )
    code, out, _ = loom("reviews", "--dry-run")
    assert code == 0
    assert "Model: openai/mystery-9 (price not known)" in out
    assert "Total Estimated Cost: not known" in out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["reviws", "--dry-run"], "there is no pipeline `reviws` (did you mean `reviews`?)"),
        (["--dry-run"], "a dry run of which pipeline? (loom cost PIPELINE --dry-run)"),
        (["reviws"], "there is no pipeline `reviws` (did you mean `reviews`?)"),
        (["reviews", "--dry-run", "--model", "gpt4o-mini"], "nobody is known who serves the model `gpt4o-mini` (did you mean `gpt-4o-mini`?)"),
        (["reviews", "--dry-run", "--partition", "2026-01-01"], "`reviews` has no partitions, so there is no `2026-01-01`"),
        (["reviews", "--dry-run", "--by", "day"], "--by is of what was spent: leave --dry-run out"),
        (["reviews", "--model", "gpt-4o"], "--model belongs to --dry-run"),
        (["--by", "promt"], "--by takes no `promt` (did you mean `prompt`?)"),
        (["--by", "zzz"], "--by takes no `zzz` (known: day, week, month, pipeline, stage, model, prompt, run)"),
        (["--since", "soon"], "--since takes a day, not `soon`"),
        (["--until", "2026-02-30"], "--until takes a day, not `2026-02-30`"),
        (["--since", "2026-02-02", "--until", "2026-02-01"], "--since 2026-02-02 is after --until 2026-02-01 (swap them)"),
        (["--csv", "--json"], "--csv and --json are two ways to say the same"),
        (["reviews", "--dry-run", "--sample", "1"], "greater than or equal to 2"),
        (["reviews", "--dry-run", "--param", "day=1"], "nothing in `reviews` takes the parameter `day`"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named_with_what_is_nearest(project, loom, args, said):
    code, out, err = loom(*args)
    assert code == 2
    assert said in " ".join((err or out).split())


def test_a_source_that_is_gone_and_a_prompt_that_does_not_fit(project, loom, tmp_path):
    (tmp_path / "data" / "reviews.parquet").rename(tmp_path / "data" / "gone.parquet")
    code, _, err = loom("reviews", "--dry-run")
    assert code == 2
    assert "pipelines/reviews.yaml:" in err and "data/reviews.parquet" in err
    (tmp_path / "data" / "gone.parquet").rename(tmp_path / "data" / "reviews.parquet")
    (tmp_path / "prompts" / "classify.txt").write_text("{{ input.txet }}")
    code, _, err = loom("reviews", "--dry-run")
    assert (code, "the source has no column `txet`" in err) == (2, True)


def test_a_stream_has_no_next_run(project, loom):
    project(extract={"source": "redis://localhost:1/events"})
    code, _, err = loom("reviews", "--dry-run")
    assert code == 2
    assert "`reviews` reads a stream, which does not end: there is no next run to estimate" in err


def test_what_was_spent_by_what_one_asks_for(project, loom, paid):
    paid("reviews", "transform", 0.25)
    paid("reviews", "repair", 0.01)
    paid("reviews", "evaluate:sound", 0.125, prompt="", lost=0.5)
    paid("gone", "transform", 1.0, prompt="old@v9")
    _, out, _ = loom("reviews")
    rows = [line.split() for line in out.splitlines()]
    assert ["transform", "gpt-4o-mini", "$0.26", "-", "2", "2,000", "100"] in rows
    assert ["evaluate", "gpt-4o-mini", "$0.12", "$0.50", "1", "1,000", "50"] in rows
    assert "of 1 call nobody knows whether they were paid for: $0.50 at most" in out
    found = list(csv.DictReader(loom("--by", "pipeline,prompt", "--csv")[1].splitlines()))
    assert {(row["pipeline"], row["prompt"]): float(row["cost"]) for row in found} == {
        ("reviews", "classify@v1"): 0.26,
        ("reviews", "evaluate:sound"): 0.125,
        ("gone", "old@v9"): 1.0,
    }
    told = json.loads(loom("gone", "--json", "--since", "today")[1])
    assert (told["total"]["cost"], told["rows"][0]["stage"]) == (1.0, "transform")
    assert json.loads(loom("--json", "--until", "yesterday")[1])["total"]["cost"] == 0.0


def test_days_as_people_say_them():
    today = datetime(2026, 11, 21, tzinfo=UTC).date()
    given = {
        "": None,
        "today": today,
        "yesterday": date(2026, 11, 20),
        "7d": date(2026, 11, 14),
        "2026-01-31": date(2026, 1, 31),
    }
    assert {text: day_of(text, "--since", today) for text in given} == given
    with pytest.raises(Misconfigured):
        day_of("99999999999d", "--since", today)


def test_several_ways_to_ask_at_once():
    assert wanted(["day,model", "day", " stage"]) == ["day", "model", "stage"]
