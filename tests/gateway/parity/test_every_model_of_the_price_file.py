"""No model that litellm has a price for is asked otherwise by a lane than by litellm's own completion."""

from __future__ import annotations

import pytest

from loom_dagster.gateway import AnswerSchema, Model, PriceBook, check_model
from loom_dagster.gateway.lanes import way_of
from loom_dagster.gateway.prices import price_file
from loom_dagster.gateway.providers import PROVIDERS, Way
from tests.gateway.parity.conftest import BOOK
from tests.gateway.parity.speakers import SPEAKERS
from tests.servers.providers import Said

ENVIRON = {"THE_KEY": "x"}
MESSAGES = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
SCHEMA = AnswerSchema(
    name="output",
    body={
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    },
)


def models(provider: str) -> list[str]:
    return [
        name
        for name, entry in price_file().items()
        if entry.get("litellm_provider") == provider and entry.get("mode") == "chat"
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("speaker", SPEAKERS, ids=lambda s: s.provider)
async def test_is_asked_as_litellm_asks(both, speaker):
    both.server.says(speaker.form, Said(text='{"a": "b"}'))
    different = {}
    for name in models(speaker.provider):
        model = Model(
            name=name if name.startswith(f"{speaker.provider}/") else f"{speaker.provider}/{name}",
            api_base=speaker.base(both.server),
            api_key_env="THE_KEY",
            temperature=0.3,
            extra={"top_p": 0.5, "seed": 3},
        )
        if way_of(model, ENVIRON, BOOK) is Way.LITELLM:
            continue
        schema = SCHEMA if BOOK.takes_schema(model.name) else None
        both.server.seen.clear()
        await both.theirs(model, MESSAGES, schema)
        await both.ours(model, MESSAGES, schema)
        theirs, ours = both.server.seen
        if (ours.path, ours.body, ours.headers.get("authorization")) != (
            theirs.path,
            theirs.body,
            theirs.headers.get("authorization"),
        ):
            different[name] = (ours.path, ours.body, theirs.path, theirs.body)
    assert different == {}


def test_every_lane_of_ours_is_compared_with_litellm():
    ours = {name for name, provider in PROVIDERS.items() if provider.way in (Way.WIRE, Way.CONFIG)}
    assert ours == {speaker.provider for speaker in SPEAKERS}
    for speaker in SPEAKERS:
        model = Model(name=speaker.model, api_base="http://h", api_key_env="THE_KEY")
        assert way_of(model, ENVIRON, PriceBook.load()) is PROVIDERS[speaker.provider].way
        assert check_model(model, ENVIRON) == ()
        assert len(speaker.failures) >= 7
