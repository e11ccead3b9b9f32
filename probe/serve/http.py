"""uvicorn, bent in three places: signals are ours, sockets are counted (`door`), and a port that is taken is one plain line."""

import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from probe.serve.door import Door, Protocol, listen, most_at_once
from probe.serve.webconfig import WebConfig

# Scrapers keep a connection open between scrapes.
KEEP_ALIVE_SECONDS = 75
# After this, whoever still waits for an answer gets none: the runs themselves are over by then.
GRACEFUL_SECONDS = 10


# Windows' numbers (its "Windows Sockets Error Codes") beside POSIX': the system's own words there are in its language.
_WHY = {
    errno.EADDRINUSE: "address already in use",
    10048: "address already in use",  # WSAEADDRINUSE
    10013: "permission denied, or another program has the port for itself",  # WSAEACCES
    10049: "this is no address of this machine",  # WSAEADDRNOTAVAIL
}


class CannotListen(OSError):
    """The address cannot be had; the text says why."""


class Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: a signal first ends the runs, so that no message stays behind."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        scheme = "https" if self.config.ssl else "http"
        self._ready(f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/")


def make_server(
    app: ASGIApp, host: str, port: int, web: Callable[[], WebConfig], ready: Callable[[str], None], concurrency: int = 10
) -> Server:
    """A server that is not started yet. `web` gives the settings of the moment; `ready` gets the address that can be reached.

    `concurrency`: so many runs at once keep their descriptors.
    """
    most = most_at_once(concurrency)
    config = uvicorn.Config(
        app, host, port, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="off", ws="none",
        http=Protocol, limit_concurrency=most + 1,
        timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )  # fmt: skip
    config.load()
    config.door = Door(most)  # type: ignore[attr-defined]
    config.ssl = web().context
    if config.ssl is not None:
        config.ssl.sni_callback = lambda handshake, _name, _context: _renew(handshake, web())
    return Server(config, ready)


def _renew(handshake: Any, web: WebConfig) -> None:
    """Each handshake shows the certificate that was read last, so that a renewed one needs a reload and no restart."""
    if web.context is not None:
        handshake.context = web.context


def why_not(error: OSError) -> str:
    """Why an address cannot be had, in plain words."""
    number = getattr(error, "winerror", None) or error.errno or 0
    return _WHY.get(number, (error.strerror or str(error)).lower())


async def serve(server: Server) -> None:
    """Serve until `server.should_exit`. Raises CannotListen."""
    config = server.config
    try:
        entrances = listen(config.host, config.port, config.door)  # type: ignore[attr-defined]
    except OSError as error:
        raise CannotListen(f"{config.host} port {config.port}: {why_not(error)}") from None
    await server.serve(sockets=list(entrances))
