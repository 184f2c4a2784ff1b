from __future__ import annotations

import subprocess
import sys

import pytest

from loom_dagster.gateway import Model, Price, PriceBook, batch_price
from loom_dagster.gateway.charge import worst_case
from loom_dagster.gateway.prices import cost_of, price_file
from loom_dagster.records import Usage

BOOK = PriceBook.load()
MADE_UP = PriceBook(
    {
        "gpt-4o-mini": {
            "litellm_provider": "openai",
            "mode": "chat",
            "input_cost_per_token": 1e-6,
            "output_cost_per_token": 4e-6,
            "cache_read_input_token_cost": 5e-7,
            "max_input_tokens": 128000,
            "max_output_tokens": 16384,
            "supports_response_schema": True,
        },
        "groq/llama": {
            "litellm_provider": "groq",
            "input_cost_per_token": 1e-7,
            "output_cost_per_token": 2e-7,
        },
        "half-priced": {"litellm_provider": "x", "input_cost_per_token": 1e-7},
        "ft:gpt-4o-mini": {
            "litellm_provider": "openai",
            "input_cost_per_token": 1e-6,
            "output_cost_per_token": 1e-6,
        },
    }
)


@pytest.mark.parametrize(
    "name", ["gpt-4o-mini", "openai/gpt-4o-mini", "gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini-2024-07-18"]
)
def test_one_model_under_its_several_names(name):
    assert MADE_UP.price(name) == Price(input=1e-6, output=4e-6, cached=5e-7)
    assert MADE_UP.context_window(name) == 128000
    assert MADE_UP.max_output(name) == 16384
    assert MADE_UP.takes_schema(name)
    assert MADE_UP.provider(name) == "openai"


@pytest.mark.parametrize(
    "name", ["hosted_vllm/gpt-4o-mini", "unknown", "half-priced", "groq/gpt-4o-mini", "llama"]
)
def test_nobody_elses_price_is_taken(name):
    assert MADE_UP.price(name) is None


def test_fine_tuned_models_go_by_their_base():
    assert MADE_UP.price("ft:gpt-4o-mini:my-org::id") == Price(input=1e-6, output=1e-6)


def test_cached_tokens_have_their_own_price():
    usage = Usage(input_tokens=1000, output_tokens=100, cached_tokens=400)
    assert MADE_UP.cost(Model(name="gpt-4o-mini"), usage) == pytest.approx(600e-6 + 200e-6 + 400e-6)
    own = Model(name="gpt-4o-mini", price=Price(input=1.0, output=2.0))
    assert MADE_UP.cost(own, usage) == pytest.approx(1200.0)
    assert MADE_UP.cost(Model(name="unknown"), usage) is None


def test_offline_is_free_and_takes_schemas():
    assert BOOK.price("offline/demo") == Price(input=0.0, output=0.0)
    assert BOOK.takes_schema("offline/demo")
    assert BOOK.provider("offline/demo") == "offline"


def test_the_installed_file_is_read():
    price = BOOK.price("gpt-4o-mini")
    assert price is not None
    assert 0 < price.input < price.output < 1e-4
    assert BOOK.context_window("gpt-4o-mini") == 128000
    assert BOOK.reasons("o3-mini")
    assert not BOOK.reasons("gpt-4o-mini")
    assert BOOK.provider("meta-llama/Llama-3") is None


def test_litellm_is_not_imported_for_it():
    code = "import sys; from loom_dagster.gateway import PriceBook; PriceBook.load().price('gpt-4o'); print([m for m in ('litellm', 'aiohttp') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


TIERS = PriceBook(
    {
        "long": {
            "litellm_provider": "gemini",
            "input_cost_per_token": 1e-6,
            "output_cost_per_token": 4e-6,
            "cache_read_input_token_cost": 1e-7,
            "input_cost_per_token_above_200k_tokens": 2e-6,
            "output_cost_per_token_above_200k_tokens": 6e-6,
            "input_cost_per_token_above_200k_tokens_priority": 9e-6,
        },
        "grok": {
            "litellm_provider": "xai",
            "input_cost_per_token": 1e-6,
            "output_cost_per_token": 4e-6,
            "input_cost_per_token_above_128k_tokens": 2e-6,
        },
        "ranges": {
            "litellm_provider": "dashscope",
            "tiered_pricing": [
                {"range": [0, 32000.0], "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6},
                {"range": [32000.0, 1000000.0], "input_cost_per_token": 3e-6, "output_cost_per_token": 4e-6},
            ],
        },
    }
)


@pytest.mark.parametrize(
    ("name", "tokens", "cost"),
    [
        ("long", 200_000, 0.2 + 4e-4),
        ("long", 200_001, 200_001 * 2e-6 + 6e-4),
        ("grok", 127_999, 0.127999 + 4e-4),
        ("grok", 128_000, 0.256 + 4e-4),
        ("ranges", 32_000, 0.032 + 2e-4),
        ("ranges", 32_001, 32_001 * 3e-6 + 4e-4),
    ],
)
def test_a_long_prompt_costs_its_own_price_from_the_first_token(name, tokens, cost):
    usage = Usage(input_tokens=tokens, output_tokens=100)
    assert TIERS.cost(Model(name=name), usage) == pytest.approx(cost, rel=1e-12)


def test_a_tier_keeps_the_prices_it_does_not_name():
    usage = Usage(input_tokens=300_000, output_tokens=0, cached_tokens=300_000)
    assert TIERS.cost(Model(name="long"), usage) == pytest.approx(0.03)


def test_the_worst_case_of_a_prompt_that_may_reach_a_tier_is_the_tiers():
    price = TIERS.price("long")
    short, long = ([{"role": "user", "content": "é" * n}] for n in (90_000, 110_000))
    assert worst_case(price, short, None, 100) < 0.2 + 100 * 6e-6
    assert worst_case(price, long, None, 100) > 220_000 * 2e-6 + 100 * 6e-6 - 1e-9


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of what litellm imports
def test_every_price_with_tiers_is_litellms(monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from litellm.litellm_core_utils.llm_cost_calc.utils import generic_cost_per_token
    from litellm.types.utils import Usage as TheirUsage

    compared = 0
    for name, entry in price_file().items():
        provider = entry.get("litellm_provider")
        tiers = entry.get("tiered_pricing") or any("_above_" in key and "k_tokens" in key for key in entry)
        if not tiers or provider == "xai" or entry.get("mode") not in ("chat", "responses"):
            continue
        for tokens in (1_000, 31_999, 32_000, 32_001, 128_001, 200_000, 200_001, 272_001, 500_000):
            usage = TheirUsage(prompt_tokens=tokens, completion_tokens=100, total_tokens=tokens + 100)
            theirs = sum(generic_cost_per_token(name, usage, provider))
            ours = cost_of(BOOK.price(name), Usage(input_tokens=tokens, output_tokens=100))
            assert ours == pytest.approx(theirs, rel=1e-9), (name, tokens)
            compared += 1
    assert compared > 1_000


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("gpt-4o-mini", Price(input=7.5e-8, output=3e-7, cached=None)),  # as the price file says
        ("openai/gpt-4o-mini", Price(input=7.5e-8, output=3e-7, cached=None)),
        ("xai/grok-4.3", BOOK.in_batches("xai/grok-4.3")),
        ("hosted_vllm/gpt-4o-mini", None),
        ("nobody-knows", None),
        ("offline/demo", None),
    ],
)
def test_what_a_call_costs_in_a_batch(name, price):
    assert batch_price(Model(name=name), BOOK) == price


def test_a_batch_api_without_a_price_of_its_own_takes_half():
    half = batch_price(Model(name="gpt-4o-mini"), MADE_UP)
    assert half == Price(input=5e-7, output=2e-6, cached=2.5e-7)
    assert batch_price(Model(name="groq/llama"), MADE_UP) == Price(input=5e-8, output=1e-7)
    declared = Model(
        name="openai/any", price=Price(input=1e-6, output=2e-6, tiers=((9, Price(input=2e-6, output=4e-6)),))
    )
    assert batch_price(declared, MADE_UP) == Price(
        input=5e-7, output=1e-6, tiers=((9, Price(input=1e-6, output=2e-6)),)
    )


def test_dear_tiers_are_those_of_the_batch_api():
    names = [n for n, e in price_file().items() if "input_cost_per_token_above_200k_tokens_batches" in e]
    assert names
    for name in names:
        entry = price_file()[name]
        assert (
            BOOK.in_batches(name).at(200_001).input == entry["input_cost_per_token_above_200k_tokens_batches"]
        )
