from __future__ import annotations

import asyncio

from loom_dagster.errors import Misconfigured, Permanent


async def test_one_and_the_same_400_on_every_first_call_stops_the_run(asking):
    asking.server.change(status=400, latency=0.01)
    outcomes = await asking.outcomes(map(str, range(30)))
    assert {type(error) for error in outcomes} == {Misconfigured}
    assert "frobnicate" in str(outcomes[0])
    requests = asking.server.stats()["requests"]
    assert isinstance((await asking.outcomes(["a later one"]))[0], Misconfigured)
    assert asking.server.stats()["requests"] == requests


async def test_it_stops_the_run_also_one_call_at_a_time(asking):
    asking.server.change(status=400)
    outcomes = [(await asking.outcomes([str(number)]))[0] for number in range(5)]
    assert [type(error) for error in outcomes[:3]] == [Permanent.__subclasses__()[0]] * 3
    assert {type(error) for error in outcomes[3:]} == {Misconfigured}


async def test_a_success_among_them_makes_them_the_records_own(asking):
    asking.server.change(poison={"bad": "400"})
    asking.server.options.latency = 0.02
    good = asyncio.ensure_future(asking.ask("good"))
    outcomes = await asking.outcomes(["bad 1", "bad 2", "bad 3"])
    assert (await good).text == "ok"
    assert all(isinstance(error, Permanent) for error in outcomes)
    more = await asking.outcomes([f"bad {number}" for number in range(4, 20)])
    assert all(isinstance(error, Permanent) and error.kind == "bad_request" for error in more)


async def test_a_single_bad_record_is_decided_at_once(asking):
    asking.server.change(script=["400"])
    outcomes = await asking.outcomes(["only one"])
    assert outcomes[0].kind == "bad_request"
    assert isinstance(outcomes[0], Permanent)
