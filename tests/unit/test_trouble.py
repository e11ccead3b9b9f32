"""What an error of this system means: the same on Linux, musl and Windows, whose numbers differ."""

import errno
import socket

import pytest

from probe.observe.connection import resolve
from probe.observe.trouble import Stopped, trouble_of


def windows_error(kind: type[OSError], number: int) -> OSError:
    """As the Proactor raises it: no errno of its own (EINVAL), Windows' number, the class only where Python knows the number."""
    error = kind(errno.EINVAL, "The text is in the language of the machine")
    error.winerror = number  # type: ignore[attr-defined,unused-ignore]
    return error


@pytest.mark.parametrize(
    ("error", "finding"),
    [
        (windows_error(ConnectionRefusedError, 1225), "connect.refused"),
        (windows_error(OSError, 1225), "connect.refused"),
        (windows_error(OSError, 10061), "connect.refused"),
        (windows_error(OSError, 1234), "connect.refused"),
        (windows_error(OSError, 121), "connect.timeout"),
        (windows_error(OSError, 10060), "connect.timeout"),
        (windows_error(OSError, 1460), "connect.timeout"),
        (windows_error(OSError, 1231), "connect.unreachable"),
        (windows_error(OSError, 1232), "connect.unreachable"),
        (windows_error(OSError, 10051), "connect.unreachable"),
        (windows_error(OSError, 10065), "connect.unreachable"),
        (windows_error(OSError, 10049), "connect.unreachable"),
        (windows_error(OSError, 64), "connect.closed"),
        (windows_error(OSError, 1236), "connect.closed"),
        (windows_error(ConnectionAbortedError, 1236), "connect.closed"),
        (windows_error(OSError, 10054), "connect.closed"),
        (windows_error(OSError, 10053), "connect.closed"),
        (windows_error(BrokenPipeError, 109), "connect.closed"),
        (windows_error(OSError, 10024), "probe.no-descriptors"),
        (windows_error(OSError, 87), "connect.failed"),
        (OSError(errno.ECONNREFUSED, "x"), "connect.refused"),
        (ConnectionResetError("asyncio gives no number"), "connect.closed"),
        (BrokenPipeError(), "connect.closed"),
        (ConnectionRefusedError("no number"), "connect.refused"),
        (OSError(errno.EHOSTUNREACH, "x"), "connect.unreachable"),
        (OSError(errno.EMFILE, "x"), "probe.no-descriptors"),
        (OSError(errno.EIO, "x"), "connect.failed"),
        (OSError("no number"), "connect.failed"),
        (TimeoutError(), "connect.timeout"),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'winerror', '')}" if isinstance(value, OSError) else value,
)
def test_an_error_means_the_same_on_every_system(error: OSError, finding: str) -> None:
    trouble = trouble_of(error, "connect to 10.0.0.1 port 587")
    assert trouble.id == finding
    assert trouble.text.startswith("connect to 10.0.0.1 port 587: ")
    if finding != "connect.failed":
        assert "language of the machine" not in trouble.text


NAMES = ("EAI_ADDRFAMILY", "EAI_NODATA", "EAI_AGAIN")


@pytest.mark.parametrize(
    ("number", "finding"),
    [
        (11001, "dns.no-record"),  # WSAHOST_NOT_FOUND
        (11002, "dns.failed"),  # WSATRY_AGAIN
        (11003, "dns.failed"),  # WSANO_RECOVERY
        (11004, "dns.no-record"),  # WSANO_DATA
        (socket.EAI_NONAME, "dns.no-record"),
        (socket.EAI_FAIL, "dns.failed"),
    ],
)
@pytest.mark.parametrize("hidden", [(), NAMES], ids=["all names", "as musl and Windows have them"])
async def test_a_name_that_does_not_resolve(
    monkeypatch: pytest.MonkeyPatch, number: int, finding: str, hidden: tuple[str, ...]
) -> None:
    for name in hidden:
        monkeypatch.delattr(socket, name, raising=False)

    def no_answer(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "said in some language")

    monkeypatch.setattr(socket, "getaddrinfo", no_answer)
    with pytest.raises(Stopped) as caught:
        await resolve("mail.nosuch.invalid", 587)
    assert caught.value.trouble.id == finding
    assert "mail.nosuch.invalid" in caught.value.trouble.text


async def test_an_answer_for_now_is_the_resolvers_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    monkeypatch.setattr(socket, "getaddrinfo", no_answer)
    with pytest.raises(Stopped) as caught:
        await resolve("mail.nosuch.invalid", 587)
    assert caught.value.trouble.id == "dns.failed"
