from __future__ import annotations

import asyncio

import pytest

from loom_dagster.errors import LoomError, Misconfigured, Permanent, Transient
from loom_dagster.gateway import Timeouts
from loom_dagster.gateway.failures import Place, from_status
from tests.servers.llm import LLMServer

KEY = "sk-very-secret-key-123"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("429", "rate_limit"),
        ("500", "server_error"),
        ("503", "server_error"),
        ("529", "server_error"),
        ("408", "timeout"),
        ("409", "server_error"),
        ("cut", "bad_body"),
        ("close", "connection"),
        ("html", "bad_body"),
    ],
)
async def test_what_may_pass_is_tried_again(asking, fault, kind):
    asking.server.change(script=["ok", fault])
    await asking.ask("warm up")
    assert (await asking.ask("hello")).text == "ok"
    assert asking.server.stats()["requests"] == 3

    asking.server.change(faults={fault: 1.0})
    error = await tried_once(asking)
    assert error.kind == kind


async def test_a_server_that_drops_idle_connections_costs_no_record(asking):
    asking.server.change(faults={"hangup": 1.0})
    for number in range(20):
        assert (await asking.ask(f"text {number}", model=asking.model(in_flight=1))).text == "ok"
    assert asking.server.stats()["paid"] == 20
    assert asking.server.stats()["repeated"] == 0


async def tried_once(asking):
    """What a single attempt raises, while the provider is otherwise well."""
    from loom_dagster.gateway.connection import make_session
    from loom_dagster.gateway.lanes import lane_for
    from loom_dagster.gateway.prices import PriceBook

    session = make_session()
    try:
        question = asking.question("once")
        lane = lane_for(question.model, PriceBook.load(), {}, lambda: session)
        with pytest.raises(Transient) as raised:
            await lane.send(question, question.messages)
        return raised.value
    finally:
        await session.close()


async def test_a_provider_that_hangs_is_a_timeout_and_tried_again(asking):
    asking.server.change(script=["ok", "hang"])
    model = asking.model(timeouts=Timeouts(connect=1, read=0.1, total=0.2))
    await asking.ask("warm up", model=model)
    assert (await asking.ask("hello", model=model)).text == "ok"
    assert asking.server.stats()["by_fault"]["hang"] == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("400", "bad_request"), ("422", "bad_request"), ("too_long", "too_long"), ("413", "too_long")],
)
async def test_what_the_record_did_is_not_tried_again(asking, fault, kind):
    asking.server.change(script=["ok", fault])
    await asking.ask("warm up")
    with pytest.raises(Permanent) as raised:
        await asking.ask("hello")
    assert raised.value.kind == kind
    assert asking.server.stats()["requests"] == 2


@pytest.mark.parametrize("fault", ["401", "403", "404", "402", "quota"])
async def test_what_nobody_can_get_through_stops_the_run(asking, fault):
    asking.server.change(faults={fault: 1.0})
    with pytest.raises(Misconfigured):
        await asking.ask("hello")
    with pytest.raises(Misconfigured):
        await asking.ask("another one")
    assert asking.server.stats()["requests"] == 1


async def test_no_error_shows_the_key(make_asking):
    with LLMServer(key="another-key") as server:
        asking = make_asking(server, environ={"MY_KEY": KEY})
        with pytest.raises(Misconfigured) as raised:
            await asking.ask("hello", model=asking.model(api_key_env="MY_KEY"))
    shown = f"{raised.value} {raised.value!r} {raised.value.__cause__!r} {asking.notes}"
    assert "secret" not in shown
    assert "MY_KEY" in shown
    assert "127.0.0.1" in shown
    assert "any" in shown


async def test_the_key_is_sent(make_asking):
    with LLMServer(key=KEY) as server:
        asking = make_asking(server, environ={"OPENAI_API_KEY": KEY})
        assert (await asking.ask("hello")).text == "ok"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{}", b'{"choices": []}', b"\xff\xfe", b'{"choices":[{}]}']
)
async def test_two_hundred_with_nonsense_is_not_an_answer(body):
    with pytest.raises(Transient) as raised:
        wire().reply(body)
    assert raised.value.kind == "bad_body"


async def test_an_error_in_disguise_is_that_error():
    with pytest.raises(Transient) as raised:
        wire().reply(b'{"error": {"code": 503, "message": "overloaded"}}')
    assert raised.value.kind == "server_error"


async def test_half_a_surrogate_pair_is_replaced_not_lost():
    body = rb'{"choices": [{"message": {"content": "a\ud800b"}, "finish_reason": "stop"}]}'
    assert wire().reply(body).text == "a?b"


def wire():
    from loom_dagster.gateway import Model
    from loom_dagster.gateway.lanes import lane_for
    from loom_dagster.gateway.prices import PriceBook

    return lane_for(Model(name="m", api_base="http://h/v1"), PriceBook.load(), {}, lambda: None)


def test_codes_and_words_of_providers():
    place = Place(model="m", host="h", key_env="K", key=KEY)

    def error(status: int, body: str) -> LoomError:
        return from_status(place, status, body, {})

    assert error(400, '{"error": {"code": "context_length_exceeded", "message": "x"}}').kind == "too_long"
    assert (
        error(400, '{"message": "This model\'s maximum context length is 8192 tokens."}').kind == "too_long"
    )
    assert (
        error(400, '{"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}').kind
        == "too_long"
    )
    assert error(400, '{"error": {"code": "content_filter", "message": "x"}}').kind == "content_filter"
    assert (
        error(400, '{"error": {"message": "API key not valid. Please pass a valid API key."}}').kind
        == "unauthorized"
    )
    assert error(429, '{"error": {"type": "insufficient_quota", "message": "x"}}').kind == "quota"
    assert KEY not in str(error(500, f"your key {KEY} and Bearer abcdefgh and sk-abc***wxyz"))
    plain = Place(model="m", host="h", key_env="K", key="letmein")
    assert "letmein" not in str(from_status(plain, 500, "the key letmein is wrong", {}))
    assert "letmein" not in repr(plain)
    assert "wxyz" not in str(error(500, "Incorrect API key provided: sk-abc***wxyz"))


async def test_a_kept_connection_that_the_other_side_closed_is_no_failure(asking):
    body = b'{"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}'
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )

    async def answer_once(reader, writer):  # promises to keep the connection, and hangs up
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(reply)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as server:
        model = asking.model(api_base=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        for number in range(5):
            assert (await asking.ask(f"question {number}", model=model)).text == "ok"
    assert asking.clock.sleeps == []


async def test_an_address_that_is_none_stops_the_run(make_asking, server):
    asking = make_asking(server)
    with pytest.raises(Misconfigured):
        await asking.ask("hello", model=asking.model(api_base="http://"))
