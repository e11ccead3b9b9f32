"""uvicorn, bent in two places: signals are ours, and a port that is taken is one plain line."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from probe.serve.webconfig import WebConfig

# Scrapers keep a connection open between scrapes.
KEEP_ALIVE_SECONDS = 75
# After this, whoever still waits for an answer gets none: the runs themselves are over by then.
GRACEFUL_SECONDS = 10
MOST_AT_ONCE = 200


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


def make_server(app: ASGIApp, host: str, port: int, web: Callable[[], WebConfig], ready: Callable[[str], None]) -> Server:
    """A server that is not started yet. `web` gives the settings of the moment; `ready` is told the address that can be reached."""
    config = uvicorn.Config(
        app, host, port, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="off", ws="none",
        limit_concurrency=MOST_AT_ONCE, timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )  # fmt: skip
    config.load()
    config.ssl = web().context
    if config.ssl is not None:
        config.ssl.sni_callback = lambda handshake, _name, _context: _renew(handshake, web())
    return Server(config, ready)


def _renew(handshake: Any, web: WebConfig) -> None:
    """Each handshake shows the certificate that was read last, so that a renewed one needs a reload and no restart."""
    if web.context is not None:
        handshake.context = web.context


async def serve(server: Server) -> None:
    """Serve until `server.should_exit`. Raises CannotListen."""
    said = _Said()
    logging.getLogger("uvicorn.error").addHandler(said)
    try:
        await server.serve()
    except SystemExit:
        raise CannotListen(said.last or "the address cannot be listened on") from None
    finally:
        logging.getLogger("uvicorn.error").removeHandler(said)


class _Said(logging.Handler):
    """The last error that uvicorn logged: it exits instead of raising."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()
