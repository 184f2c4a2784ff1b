from __future__ import annotations

import subprocess
import sys

import pytest

from loom_dagster.gateway import Model, Price, PriceBook
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
