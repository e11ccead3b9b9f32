"""HTTPS for requests that carry a secret: one try, no redirect, no compression, 64 KiB at most, sockets that can be shut.

For requests-oauthlib and msal alike, which want something with requests' `get` and `post`.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import field
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from probe.plain import dataclass
from probe.profile.bounded import capped


@dataclass(frozen=True)
class Answer:
    """What msal reads of an answer. Header names in lower case."""

    status_code: int
    headers: Mapping[str, str]
    text: str = field(repr=False)

    @property
    def is_redirect(self) -> bool:
        return self.status_code in (301, 302, 303, 307, 308)

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise requests.HTTPError(f"answers {self.status_code}")


class Client:
    """One source's requests. `shut`, from any thread, ends whatever is under way, also where an octet comes each second."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sockets: list[Any] = []
        self._session = requests.Session()
        self._session.mount("https://", _Adapter(self._sockets))

    def get(self, url: str, **named: object) -> Answer:
        return self._ask("GET", url, **named)

    def post(self, url: str, **named: object) -> Answer:
        return self._ask("POST", url, **named)

    def close(self) -> None:
        self._session.close()
        self.shut()
        for socket in self._sockets:
            socket.close()
        self._sockets.clear()

    def shut(self) -> None:
        for socket in tuple(self._sockets):
            with contextlib.suppress(OSError):
                socket.shutdown(2)

    def _ask(self, method: str, url: str, **named: Any) -> Answer:
        if not url.startswith("https://"):
            # An authority's own document may name another place.
            raise requests.RequestException("not an https:// address")
        # No compressed answer can unfold to more than came.
        named["headers"] = {**(named.get("headers") or {}), "Accept-Encoding": "identity"}
        named |= {"timeout": self._seconds, "allow_redirects": False, "stream": True}
        with self._session.request(method, url, **named) as got:
            if got.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise requests.RequestException("a compressed answer, which nobody asked for")
            try:
                octets = capped(got.raw)
            except urllib3.exceptions.HTTPError as error:
                raise requests.RequestException(f"the answer broke off: {type(error).__name__}") from None
            return Answer(got.status_code, {k.lower(): v for k, v in got.headers.items()}, octets.decode("utf-8", "replace"))


def why(error: requests.RequestException, url: str) -> str:
    """In one line, what a request failed of that was made for the token of `url`."""
    asked = urlsplit(str(getattr(error.request, "url", None) or url))
    host, port = asked.hostname or url, asked.port or 443
    what = _plain(error)
    if what is None:
        return f"{url} cannot be asked: {type(error).__name__}: {error}"
    return f"{host}: {what}; the token is fetched over HTTPS, port {port}, from this machine"


def _plain(error: requests.RequestException) -> str | None:
    """Subclasses first: each kind of requests' own is a ConnectionError too."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy (HTTPS_PROXY) cannot be reached: {_innermost(reason or error)}"
    if isinstance(error, requests.exceptions.SSLError):
        return f"TLS failed: {_innermost(reason or error)}"
    if isinstance(error, requests.Timeout):
        return "no connection in time" if isinstance(error, requests.ConnectTimeout) else "no answer in time"
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return "the name cannot be looked up"
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return f"cannot be reached: {_innermost(reason)}"
    if isinstance(error, requests.ConnectionError):
        return f"the connection broke off: {_innermost(error)}"
    return None


def _innermost(error: BaseException) -> str:
    """The system's or OpenSSL's own words, which urllib3 wraps several times."""
    seen = error
    while inner := seen.__cause__ or seen.__context__ or next((one for one in seen.args if isinstance(one, BaseException)), None):
        seen = inner
    # Of ssl.SSLCertVerificationError; of ssl.SSLError; of OSError.
    if words := getattr(seen, "verify_message", None):
        return str(words)
    if words := getattr(seen, "reason", None):
        return str(words).lower().replace("_", " ")
    return str(getattr(seen, "strerror", None) or seen)


class _Adapter(HTTPAdapter):
    """Connections whose sockets are noted as they are made, before TLS."""

    def __init__(self, sockets: list[Any]) -> None:
        self._pools = {"https": _noting(sockets), "http": urllib3.HTTPConnectionPool}
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *arguments: Any, **named: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **named)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _noting(sockets: list[Any]) -> type[urllib3.HTTPSConnectionPool]:
    class Connection(urllib3.connection.HTTPSConnection):
        def _new_conn(self) -> Any:
            made = super()._new_conn()
            # TLS takes the socket over; its twin still reaches the connection.
            sockets.append(made.dup())
            return made

    class Pool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Connection

    return Pool
