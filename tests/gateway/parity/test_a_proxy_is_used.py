from __future__ import annotations

import pytest

from loom_dagster.errors import Transient
from loom_dagster.gateway import Model
from tests.gateway.parity.speakers import SPEAKERS
from tests.servers.providers import Said

ASKED = [s for s in SPEAKERS if s.provider in {"openai", "azure", "anthropic"}]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("speaker", ASKED, ids=lambda s: s.provider)
async def test_of_the_environment(both, speaker, monkeypatch):
    monkeypatch.setenv("http_proxy", both.server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    both.server.says(speaker.form, Said())
    model = Model(
        name=speaker.model, api_base=f"http://provider.invalid{speaker.path}", api_key_env="THE_KEY"
    )
    assert (await both.ours(model)).text == "ok"
    [seen] = both.server.seen
    assert seen.agent == "loom-dagster"


@pytest.mark.parametrize("speaker", ASKED, ids=lambda s: s.provider)
async def test_unless_the_environment_excepts_the_host(both, speaker, monkeypatch):
    monkeypatch.setenv("http_proxy", both.server.url)
    monkeypatch.setenv("no_proxy", "provider.invalid")
    model = Model(
        name=speaker.model, api_base=f"http://provider.invalid{speaker.path}", api_key_env="THE_KEY"
    )
    with pytest.raises(Transient):
        await both.ours(model)
    assert both.server.seen == []
