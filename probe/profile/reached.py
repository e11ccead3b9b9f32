"""What every table of a server has in common: the proxy on the way to it; and which of two settings is to blame."""

from typing import Self

from pydantic import model_validator

from probe.profile.secret import SecretSource
from probe.profile.table import Table, contradiction
from probe.profile.values import Way, proxy_of


class Reached(Table):
    """A server, and how it is reached."""

    connect: Way = ()
    """Nodes to reach instead of what DNS says: HOST, HOST:PORT, [IPv6]:PORT; and the proxy on the way: socks5://[USER@]HOST[:PORT]."""
    proxy_password: SecretSource | None = None
    """Of the user in that proxy's address; it goes to the proxy in clear (RFC 1929)."""

    @model_validator(mode="after")
    def _whole_proxy(self) -> Self:
        found = proxy_of(self.connect)
        if self.proxy_password and not (found and found[0]):
            raise contradiction("proxy_password", "goes with a proxy's user name in connect: socks5://USER@HOST:PORT", ["connect"])
        if found and found[0] and not self.proxy_password:
            text = 'missing; say where it comes from, such as { env = "NAME" }'
            raise contradiction("proxy_password", text, ["connect"], missing=True)
        return self


def blamed(table: Table, first: str, second: str) -> tuple[str, str]:
    """Of two settings that contradict, blame the first unless only the second was written."""
    written = table.model_fields_set
    return (second, first) if second in written and first not in written else (first, second)
