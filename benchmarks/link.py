"""A link with delay, made by the bench and gone with it: a network namespace for the clients, the servers stay outside.

`tc netem` on both ends of a veth pair where the kernel has it; else packets held back in user space (`benchmarks/held.py`); else,
where no namespace may be made, the proxy (`benchmarks/delay.py`), which hides what TCP does. Namespace and devices belong to one
process: when that ends, however it ends, the kernel removes them.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from benchmarks.delay import DelayedLink
from benchmarks.held import open_tun, raise_device

# RFC 2544 gives 198.18.0.0/15 to benchmarks: nobody's network is shadowed.
OUTER, INNER = "198.18.77.1", "198.18.77.2"
_PREFIX = 30
_KILLED_WITH_US = ("setpriv", "--pdeathsig", "KILL", "unshare", "--net")


class Link(Protocol):
    """`kind`, for the table; the servers' address as clients see it; ports by those that the servers have."""

    kind: str
    address: str

    def delay(self, rtt: float) -> None:
        """From now on a round trip takes so many seconds."""

    def through(self, command: Sequence[str]) -> list[str]:
        """The command as it is run at the far end."""

    def port(self, port: int) -> int:
        """Where the far end reaches this port of the servers."""


class _Namespace:
    """The client's end in a namespace that belongs to a process."""

    address = OUTER
    kind = ""

    def __init__(self, holder: "subprocess.Popen[str]") -> None:
        self._holder = holder

    def through(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", *command]

    def port(self, port: int) -> int:
        return port


class Netem(_Namespace):
    """A veth pair with `tc netem` on both ends: the kernel holds packets back."""

    kind = "network namespace, veth, tc netem"

    def __init__(self, holder: "subprocess.Popen[str]", outer: str, inner: str) -> None:
        super().__init__(holder)
        self._ends = ([*_TC, outer], self.through([*_TC, inner]))
        pair = ["ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", str(holder.pid)]
        _do(pair)
        raise_device(outer, f"{OUTER}/{_PREFIX}")
        for words in (
            ["address", "add", f"{INNER}/{_PREFIX}", "dev", inner],
            ["link", "set", inner, "up"],
            ["link", "set", "lo", "up"],
        ):
            _do(self.through(["ip", *words]))
        self.delay(0.0)

    def delay(self, rtt: float) -> None:
        for end in self._ends:
            _do([*end, "root", "netem", "delay", f"{rtt * 500_000:.0f}us", "limit", "100000"])


_TC = ("tc", "qdisc", "replace", "dev")


class Held(_Namespace):
    """Two TUN devices and a process between them that holds packets back."""

    kind = "network namespace, packets held back in user space (no tc netem in this kernel)"

    def delay(self, rtt: float) -> None:
        assert self._holder.stdin is not None
        self._holder.stdin.write(f"{rtt}\n")
        self._holder.stdin.flush()


class Proxied:
    """The proxy, where no namespace may be made."""

    kind = "proxy (no network namespaces here): hides Nagle, delayed ACKs and session tickets"
    address = "127.0.0.1"

    def __init__(self, proxies: DelayedLink) -> None:
        self._proxies = proxies

    def delay(self, rtt: float) -> None:
        self._proxies.rtt = rtt

    def through(self, command: Sequence[str]) -> list[str]:
        return list(command)

    def port(self, port: int) -> int:
        return self._proxies.ports[port]


@contextlib.contextmanager
def link() -> Iterator[Netem | Held | None]:
    """The best link that this machine allows, gone at the end; None where only the proxy is left."""
    for make in (_netem, _held):
        with contextlib.ExitStack() as stack:
            try:
                made = stack.enter_context(make())
            except (OSError, subprocess.CalledProcessError):
                continue
            yield made
            return
    yield None


@contextlib.contextmanager
def proxied(ports: Iterable[int]) -> Iterator[Proxied]:
    """The proxy before these ports."""
    with DelayedLink(ports) as proxies:
        yield Proxied(proxies)


@contextlib.contextmanager
def _netem() -> Iterator[Netem]:
    outer, inner = _names()
    with _owner("sh", "-c", "echo ready; read -r line") as holder:
        try:
            yield Netem(holder, outer, inner)
        finally:
            # The kernel would do it too, but some time after the process.
            subprocess.run(["ip", "link", "delete", outer], check=False, capture_output=True)


@contextlib.contextmanager
def _held() -> Iterator[Held]:
    outer, inner = _names()
    end = open_tun(outer)
    try:
        raise_device(outer, f"{OUTER}/{_PREFIX}")
        command = (sys.executable, "-m", "benchmarks.held", str(end), inner, f"{INNER}/{_PREFIX}")
        with _owner(*command, pass_fds=(end,)) as holder:
            yield Held(holder)
    finally:
        os.close(end)


def _names() -> tuple[str, str]:
    return f"bench{os.getpid()}o"[-15:], f"bench{os.getpid()}i"[-15:]


@contextlib.contextmanager
def _owner(*command: str, pass_fds: tuple[int, ...] = ()) -> Iterator["subprocess.Popen[str]"]:
    """A process in a network namespace of its own, which ends when its standard input does. Raises OSError where it cannot be."""
    # A session of its own: Ctrl-C is for the bench, which ends this one last.
    with subprocess.Popen(
        [*_KILLED_WITH_US, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=pass_fds,
        start_new_session=True,
    ) as holder:
        try:
            assert holder.stdout is not None
            if holder.stdout.readline().strip() != "ready":
                raise OSError("no network namespace here")
            yield holder
        finally:
            holder.kill()


def _do(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)
