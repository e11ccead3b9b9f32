"""The proxy on the way to a server: its user and its password go together."""

from collections.abc import Sequence

from probe.profile.secret import SecretSource
from probe.profile.table import contradiction
from probe.profile.values import proxy_of


def require_whole_proxy(connect: Sequence[str], password: SecretSource | None) -> None:
    """Raise a contradiction where one of them is missing."""
    found = proxy_of(connect)
    if password and not (found and found[0]):
        raise contradiction("proxy_password", "goes with a proxy's user name in connect: socks5://USER@HOST:PORT", ["connect"])
    if found and found[0] and not password:
        text = 'missing; say where it comes from, such as { env = "NAME" }'
        raise contradiction("proxy_password", text, ["connect"], missing=True)
