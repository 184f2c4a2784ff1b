"""What a provider says when something is wrong becomes the same class of error on a lane and through litellm."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from loom_dagster.errors import LoomError, Misconfigured, Transient
from loom_dagster.gateway import Model, Timeouts
from loom_dagster.gateway.litellm_lane import LiteLLM
from tests.gateway.parity.conftest import KEY, USER, question_of
from tests.gateway.parity.speakers import SPEAKERS, Failure, Speaker
from tests.servers.providers import Said

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FAILURES = [
    pytest.param(speaker, failure, id=f"{speaker.provider}-{name}")
    for speaker in SPEAKERS
    for name, failure in speaker.failures.items()
]
ONE_OF_EACH_WAY = [
    s for s in SPEAKERS if s.provider in {"openai", "azure", "anthropic", "gemini", "ollama_chat"}
]


@pytest.mark.parametrize(("speaker", "failure"), FAILURES)
async def test_of_every_provider(both, speaker: Speaker, failure: Failure):
    model = model_of(both, speaker)
    both.server.fails(failure.status, failure.body, failure.headers)
    with pytest.raises(LoomError) as ours:
        await both.ours(model)
    with pytest.raises(LoomError) as theirs:
        await through_litellm(model, speaker)
    meant = (failure.error, failure.kind)
    for error, expected in ((ours.value, meant), (theirs.value, failure.lost or meant)):
        assert (type(error).__name__, error.kind) == expected, error
        assert "secret" not in f"{error} {error!r} {error.__cause__!r}"
    assert getattr(ours.value, "retry_after", None) == (7.0 if failure.headers else None)
    assert getattr(ours.value, "retry_after", None) == getattr(theirs.value, "retry_after", None)


@pytest.mark.parametrize("content", [b"", b"<html>Bad gateway</html>", b"[]", b"{}", b'{"choices": []}'])
@pytest.mark.parametrize("proven", [False, True])
@pytest.mark.parametrize("speaker", ONE_OF_EACH_WAY, ids=lambda s: s.provider)
async def test_of_something_that_is_no_completion(both, speaker: Speaker, content, proven):
    model = model_of(both, speaker)
    if proven:
        both.server.says(speaker.form, Said())
        await both.ours(model)
    both.server.answers(200, content)
    with pytest.raises(Transient) as raised:
        await both.ours(model)
    assert (raised.value.kind, raised.value.maybe_paid) == ("bad_body", True)
    both.server.says(speaker.form, Said())
    assert (await both.ours(model)).text == "ok"


@pytest.mark.parametrize("speaker", ONE_OF_EACH_WAY, ids=lambda s: s.provider)
async def test_of_a_redirect_it_is_not_followed(both, speaker: Speaker):
    both.server.answers(307, b"", {"Location": f"{both.server.url}/elsewhere"})
    with pytest.raises(Misconfigured) as raised:
        await both.ours(model_of(both, speaker))
    assert raised.value.kind == "not_found"
    assert len(both.server.seen) == 1


@pytest.mark.parametrize("speaker", ONE_OF_EACH_WAY, ids=lambda s: s.provider)
async def test_of_nobody_there(both, speaker: Speaker):
    model = replace(model_of(both, speaker), api_base="http://127.0.0.1:9")
    with pytest.raises(Transient) as ours:
        await both.ours(model)
    with pytest.raises(Transient) as theirs:
        await through_litellm(model, speaker)
    for error in (ours.value, theirs.value):
        assert (type(error).__name__, error.kind, error.maybe_paid) == ("Unreachable", "connection", False)


@pytest.mark.parametrize("speaker", ONE_OF_EACH_WAY, ids=lambda s: s.provider)
async def test_of_a_connection_that_is_lost(both, speaker: Speaker):
    async def hang_up(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        model = replace(model_of(both, speaker), api_base=base)
        with pytest.raises(Transient) as ours:
            await both.ours(model)
        with pytest.raises(Transient) as theirs:
            await through_litellm(model, speaker)
    for error in (ours.value, theirs.value):
        assert (type(error).__name__, error.kind, error.maybe_paid) == ("Unreachable", "connection", True)


@pytest.mark.parametrize("speaker", ONE_OF_EACH_WAY, ids=lambda s: s.provider)
async def test_of_a_server_that_hangs(both, speaker: Speaker):
    hanging = asyncio.Event()

    async def hang(reader, writer):
        await hanging.wait()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        timeouts = Timeouts(connect=1, read=0.1, total=0.2)
        model = replace(model_of(both, speaker), api_base=base, timeouts=timeouts)
        with pytest.raises(Transient) as raised:
            await both.ours(model)
        hanging.set()
    assert (raised.value.kind, raised.value.maybe_paid) == ("timeout", True)


def model_of(both, speaker: Speaker) -> Model:
    return Model(name=speaker.model, api_base=speaker.base(both.server), api_key_env="THE_KEY")


async def through_litellm(model: Model, speaker: Speaker):
    known = replace(model, name=speaker.known_as or model.name)
    lane = LiteLLM(known, key=KEY, key_env="THE_KEY", structured=False)
    try:
        return await lane.send(question_of(known), USER)
    finally:
        await lane.close()
