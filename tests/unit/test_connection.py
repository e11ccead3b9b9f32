"""Deadlines that can be brought forward, fairness, addresses."""

import asyncio

import pytest

from probe.observe.connection import Address, Attempt, Deadline, Pace, dial, resolve
from probe.observe.reach import split_node
from probe.observe.trouble import Stopped


async def test_shortening_a_deadline_ends_waits_that_are_under_way() -> None:
    loop = asyncio.get_running_loop()
    deadline = Deadline(loop.time() + 3600)
    waiting = asyncio.Event()

    async def wait() -> None:
        async with deadline.limit():
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(wait())
    await waiting.wait()
    deadline.shorten(loop.time())
    with pytest.raises(TimeoutError):
        await task
    assert deadline.seconds_left == 0


async def test_a_deadline_is_never_put_off() -> None:
    deadline = Deadline(asyncio.get_running_loop().time())
    deadline.shorten(deadline.when + 100)
    assert deadline.seconds_left == 0


async def test_a_pace_lets_few_go_on_in_a_turn_of_the_loop() -> None:
    pace, turns, order = Pace(), 0, []

    async def count_turns() -> None:
        nonlocal turns
        while len(order) < 20:
            turns += 1
            await asyncio.sleep(0)

    async def one(number: int) -> None:
        await pace.turn()
        order.append(number)

    await asyncio.gather(count_turns(), *(one(number) for number in range(20)))
    assert order == sorted(order) and turns >= 10


async def test_a_cancelled_place_in_the_queue_holds_nobody_up() -> None:
    pace = Pace()
    tasks = [asyncio.ensure_future(pace.turn()) for _ in range(5)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert [type(result) for result in results].count(asyncio.CancelledError) == 1


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("10.0.0.1", ("10.0.0.1", 587)),
        ("10.0.0.1:25", ("10.0.0.1", 25)),
        ("mail.x.test:2587", ("mail.x.test", 2587)),
        ("[::1]:25", ("::1", 25)),
        ("[::1]", ("::1", 587)),
        ("2001:db8::1", ("2001:db8::1", 587)),
    ],
)
def test_nodes(entry: str, expected: tuple[str, int]) -> None:
    assert split_node(entry, 587) == expected


async def test_a_dead_first_address_costs_little_and_is_told() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    attempts: list[Attempt] = []
    limit = Deadline(asyncio.get_running_loop().time() + 10).until(asyncio.get_running_loop().time() + 10)
    sock, address = await dial([Address("127.0.0.2", port), Address("127.0.0.1", port)], limit, attempts)
    assert address.ip == "127.0.0.1"
    assert attempts[0].trouble is not None and attempts[0].trouble.id == "connect.refused"
    sock.close()
    server.close()


async def test_every_address_dead_is_one_sentence() -> None:
    limit = Deadline(asyncio.get_running_loop().time() + 10).until(asyncio.get_running_loop().time() + 10)
    with pytest.raises(Stopped, match="2 more address"):
        await dial([Address(f"127.0.0.{n}", 1) for n in (2, 3, 4)], limit, [])


async def test_names_that_dns_cannot_hold() -> None:
    for name in ("a" * 70 + ".test", "x..test"):
        with pytest.raises(Stopped) as caught:
            await resolve(name, 25)
        assert caught.value.trouble.id in ("dns.bad-name", "dns.no-record")
