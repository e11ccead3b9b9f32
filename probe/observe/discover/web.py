"""HTTPS for discovery, bounded: verified certificates only, at most so many octets, seconds and redirects; never plain HTTP.

Credentials go out once they are asked for by Basic authentication, and only to the host that was asked, or to one that the user
consented to: a redirect is written by whoever answers. A password that was refused is not sent a second time.
"""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from probe.observe.connection import Trust, new_context
from probe.observe.connection.nameserver import ask_each
from probe.observe.connection.resolve import literal, resolve
from probe.observe.trouble import Stopped, stop, trouble_of
from probe.plain import dataclass
from probe.profile.values import host as host_name

if TYPE_CHECKING:
    import httpx2

MOST_OCTETS = 512 * 1024
MOST_REDIRECTS = 5
MOST_ADDRESSES = 3
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks. `consent` names the hosts (HOST or HOST:PORT), besides the one asked, that may be asked."""

    username: str
    password: str = field(repr=False)
    consent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Way:
    """How HTTPS is reached. `connect` (HOST:PORT) is where every name's HTTPS goes, `resolver` whom to ask for addresses."""

    ca_file: str | None = None
    resolver: str | None = None
    connect: str | None = None
    seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """What came back in the end. `withheld` is the place that asked for credentials and did not get them, and why."""

    url: str
    status: int
    body: bytes
    location: str | None = None
    challenges: str = ""
    hops: tuple[str, ...] = ()
    authenticated: bool = False
    withheld: str = ""


@dataclass(slots=True)
class _Trip:
    """How far one fetch has come, for the words when its time is over."""

    answered: bool = False
    # The name whose addresses are being looked up, and where.
    looked_up: str = ""


class Web:
    """Fetches pages. `login` is None when nobody consented to send credentials."""

    def __init__(self, way: Way, login: Login | None = None) -> None:
        self._way = way
        self._login = login
        self._turn = asyncio.Lock()
        self._refused = False

    async def fetch(self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Page:
        """The page behind a URL, redirects followed. Raises Stopped: `dns.*`, `connect.*`, `tls.*`, `discover.document-refused`."""
        trip, tried = _Trip(), f"{method} {url}"
        try:
            async with asyncio.timeout(self._way.seconds):
                return await self._follow(trip, method, url, body, dict(headers or {}))
        except TimeoutError:
            limit = f"{self._way.seconds:g} s"
            if trip.answered:
                raise stop("discover.document-refused", f"{tried}: the answer had not ended after {limit}") from None
            if trip.looked_up:
                raise stop("dns.failed", f"look up {trip.looked_up}: no answer within {limit}") from None
            raise stop("connect.timeout", f"{tried}: no answer within {limit}") from None

    async def _follow(self, trip: _Trip, method: str, url: str, body: bytes, headers: dict[str, str]) -> Page:
        hops: list[str] = []
        asked = place(url)
        while True:
            page = await self._once(trip, method, url, body, headers)
            if page.status == 401:
                page = await self._identified(trip, method, page, body, headers, asked)
            if page.status not in _REDIRECTS:
                return replace(page, hops=tuple(hops))
            target = redirect_target(url, page.location)
            if target in (url, *hops):
                raise stop("discover.document-refused", f"{method} {url}: a redirect loop: sent again to {target}")
            hops.append(target)
            if len(hops) > MOST_REDIRECTS:
                raise stop("discover.document-refused", f"{method} {url}: more than {MOST_REDIRECTS} redirects")
            url = target

    async def _identified(self, trip: _Trip, method: str, page: Page, body: bytes, headers: dict[str, str], asked: str) -> Page:
        """Ask again with credentials, where that may be; else the page says why not."""
        here = place(page.url)
        if self._login is None:
            return replace(page, withheld=f"{here} wants to know who asks; no credentials were given")
        if here != asked and here not in self._login.consent:
            why = f"{asked} redirects to {here}, which was not sent the password (--consent {here} allows it)"
            return replace(page, withheld=why)
        if "basic" not in page.challenges.lower():
            offered = page.challenges or "nothing"
            return replace(page, withheld=f"{here} does not offer Basic authentication (it offers {offered})")
        async with self._turn:
            if self._refused:
                return replace(page, withheld=f"the password was refused before, so {here} was not sent it")
            token = base64.b64encode(f"{self._login.username}:{self._login.password}".encode()).decode()
            again = await self._once(trip, method, page.url, body, {**headers, "Authorization": f"Basic {token}"})
            self._refused = again.status == 401
        withheld = f"{here} refuses the user name or password" if again.status == 401 else ""
        return replace(again, authenticated=True, withheld=withheld)

    async def _once(self, trip: _Trip, method: str, url: str, body: bytes, headers: dict[str, str]) -> Page:
        """One request, to the first address that answers."""
        import httpx2

        tried = f"{method} {url}"
        host = urlsplit(url).hostname or ""
        # A context of its own: httpx2 sets ALPN on it, and the shared ones speak mail. Nothing comes from the environment (proxies,
        # .netrc).
        context = new_context(Trust(self._way.ca_file))
        failure: Stopped | None = None
        # The whole has a limit (fetch); an address that swallows packets must leave time for the next.
        patience = httpx2.Timeout(self._way.seconds + 1, connect=self._way.seconds / 2)
        async with httpx2.AsyncClient(verify=context, trust_env=False, follow_redirects=False, timeout=patience) as client:
            trip.looked_up = f"{host} at {self._way.resolver}" if self._way.resolver else host
            addresses, trip.looked_up = await self._addresses(url), ""
            for ip, port in addresses[:MOST_ADDRESSES]:
                try:
                    request = client.build_request(
                        method,
                        httpx2.URL(url).copy_with(host=ip, port=port),
                        headers={**headers, "Host": urlsplit(url).netloc, "Accept-Encoding": "identity"},
                        content=body or None,
                        extensions={"sni_hostname": host},
                    )
                    return await _exchange(client, request, url, trip)
                except httpx2.TransportError as error:
                    failure = _of_transport(error, tried)
                except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                    raise stop("discover.document-refused", f"{tried}: {error}") from None
        assert failure is not None
        raise failure

    async def _addresses(self, url: str) -> list[tuple[str, int]]:
        host, port = urlsplit(url).hostname or "", urlsplit(url).port or 443
        if self._way.connect:
            connect, _, digits = self._way.connect.rpartition(":")
            host, port = connect.strip("[]"), int(digits)
        elif self._way.resolver and not literal(host):
            return [(address, port) for address in await look_up(self._way.resolver, host)]
        return [(address.ip, address.port) for address in (await resolve(host, port)).addresses]


async def look_up(resolver: str, host: str) -> list[str]:
    """The addresses that this resolver gives. Raises Stopped: `dns.no-record` or `dns.failed`."""
    answer = (await ask_each({"": resolver}, host, "any"))[""]
    if answer["error"]:
        finding = "dns.no-record" if answer["error"] == "no-record" else "dns.failed"
        raise stop(finding, f"look up {host} at {resolver}: {answer['text']}")
    return list(answer["addresses"])


def place(url: str) -> str:
    """HOST, or HOST:PORT where the port is not HTTPS's own: what credentials belong to."""
    parts = urlsplit(url)
    return f"{parts.hostname}" if parts.port in (None, 443) else f"{parts.hostname}:{parts.port}"


def redirect_target(url: str, location: str | None) -> str:
    """Where a redirect leads. Raises Stopped unless that is HTTPS, on a host one can name, without a user name in it."""
    try:
        named = (location or "").strip()
        target = urljoin(url, named)
        parts = urlsplit(target)
        host_name(parts.hostname or "")
        valid = (parts.port or 443) > 0 and named.isascii() and named.isprintable() and len(target) <= 2000
    except ValueError:
        valid, parts = False, urlsplit("")
    shown = ascii(location or "")
    if valid and parts.scheme == "http":
        raise stop("discover.document-refused", f"{url}: redirects to plain HTTP, which is not followed: {shown}")
    if not valid or parts.scheme != "https" or "@" in parts.netloc:
        raise stop("discover.document-refused", f"{url}: redirects to what is no HTTPS URL: {shown}")
    return target


async def _exchange(client: "httpx2.AsyncClient", request: "httpx2.Request", url: str, trip: _Trip) -> Page:
    response = await client.send(request, stream=True)
    try:
        trip.answered = True
        coding = response.headers.get("content-encoding", "identity").lower()
        if coding != "identity":
            # We asked for none: a few octets of gzip can hold gigabytes.
            text = f"{request.method} {url}: sent compressed ({coding}), which was not asked for"
            raise stop("discover.document-refused", text)
        body = bytearray()
        # The content of a redirect or an error is nobody's business.
        if response.status_code == 200:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MOST_OCTETS:
                    raise stop("discover.document-refused", f"{request.method} {url}: more than {MOST_OCTETS // 1024} KiB came")
        challenges = ", ".join(response.headers.get_list("www-authenticate"))
        return Page(url, response.status_code, bytes(body), response.headers.get("location"), challenges)
    finally:
        await response.aclose()


def _of_transport(error: BaseException, tried: str) -> Stopped:
    """The operating system's or OpenSSL's own error underneath httpx2's, httpcore's and anyio's."""
    deepest: BaseException | None = None
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, OSError):
            deepest = at
        at = at.__cause__ or at.__context__
    if deepest is None:
        return stop("discover.document-refused", f"{tried}: not understood as HTTP: {error}")
    trouble = trouble_of(deepest, tried)
    said = getattr(deepest, "verify_message", "")
    return stop(trouble.id, f"{trouble.text}: {said}" if said else trouble.text, trouble.evidence)
