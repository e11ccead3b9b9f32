"""Basic authentication: time tells nobody who is a user, and wrong passwords hold up no right ones."""

import asyncio
import threading

import bcrypt
import pytest

from probe.serve.keys import Keys

CHEAP = bcrypt.hashpw(b"right-Horse7", bcrypt.gensalt(4))
DEAR = bcrypt.hashpw(b"other-Horse7", bcrypt.gensalt(6))
USERS = {"prometheus": CHEAP, "admin": DEAR}


async def test_unknown_users_cost_what_known_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bytes] = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda _password, mark: bool(checked.append(mark)))
    keys = Keys()
    names = [f"nobody{index}" for index in range(64)]
    for _ in range(2):
        for name in names:
            assert not await keys.fit(USERS, name, b"x")
    assert set(checked) == {CHEAP, DEAR} and checked[:64] == checked[64:]  # one name, one cost: asking twice tells nothing
    assert not await keys.fit(USERS, "nobody", b"x" * 73) and len(checked) == 128


async def test_a_known_password_lets_no_unknown_user_in() -> None:
    keys = Keys()
    assert await keys.fit(USERS, "prometheus", b"right-Horse7") and await keys.fit(USERS, "admin", b"other-Horse7")
    for name in ("", "nobody", "Prometheus", *(f"n{index}" for index in range(8))):
        for password in (b"right-Horse7", b"other-Horse7"):
            assert not await keys.fit(USERS, name, password)
    assert not await keys.fit(USERS, "admin", b"right-Horse7")


async def test_wrong_passwords_of_one_delay_another_by_one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    go, checked, begun = threading.Event(), list[bytes](), asyncio.Event()
    loop = asyncio.get_running_loop()

    def checkpw(password: bytes, _mark: bytes) -> bool:
        checked.append(password)
        loop.call_soon_threadsafe(begun.set)
        go.wait(20)
        return password == b"right"

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    keys = Keys()
    wrong = [asyncio.create_task(keys.fit(USERS, "prometheus", b"wrong", "192.0.2.1")) for _ in range(50)]
    await begun.wait()
    right = asyncio.create_task(keys.fit(USERS, "prometheus", b"right", "192.0.2.2"))
    await asyncio.sleep(0)
    go.set()
    assert await right and checked.index(b"right") <= 2
    assert not any(await asyncio.gather(*wrong)) and len(checked) == 51
