"""PACC (draft-ietf-mailmaint-pacc-02): a JSON document on a host of its own, which a digest in DNS vouches for.

`https://ua-auto-config.DOMAIN/.well-known/user-agent-configuration.json` names hosts; ports are those of implicit TLS (993, 995,
465). The TXT record `_ua-auto-config.DOMAIN` holds `v=UAAC1; a=sha256; d=BASE64`, the SHA-256 of the document's octets as they are
served: a client takes no document that it does not fit. Asked for without credentials.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator

from probe.observe.connection.nameserver import resolver_at
from probe.observe.discover.document import is_web_page
from probe.observe.discover.published import MOST_TOLD, Answer, PublishedServer, entry, unanswered
from probe.observe.discover.srv import SECONDS, why
from probe.observe.discover.web import Page, Web
from probe.observe.trouble import Stopped

SOURCE = "pacc"
# -03 calls smtp `submit`.
_PROTOCOLS = {"imap": ("imap", "993"), "pop3": ("pop3", "995"), "smtp": ("smtp", "465"), "submit": ("smtp", "465")}


async def ask(web: Web, domain: str, resolver: str | None) -> tuple[Answer, ...]:
    """The document, and whether DNS vouches for it. `resolver` is HOST[:PORT], None the system's. Never raises."""
    url = f"https://ua-auto-config.{domain}/.well-known/user-agent-configuration.json"
    try:
        page = await web.fetch("GET", url)
    except Stopped as error:
        return (unanswered(SOURCE, url, error),)
    if page.status != 200:
        return (Answer(SOURCE, url, "absent", f"the web server answers {page.status}", page.hops),)
    if is_web_page(page.body):
        return (Answer(SOURCE, url, "absent", "the web server answers with a web page, not with a configuration", page.hops),)
    return (await _vouched(url, page, f"_ua-auto-config.{domain}", resolver),)


async def _vouched(url: str, page: Page, name: str, resolver: str | None) -> Answer:
    import dns.exception
    import dns.resolver

    try:
        found = await (await resolver_at(resolver)).resolve(f"{name}.", "TXT", lifetime=SECONDS, search=False)
        records = [b"".join(record.strings) for record in found]
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        records = []
    except (dns.exception.DNSException, OSError, ValueError) as error:
        return Answer(SOURCE, url, "failed", f"look up {name}: {why(error, resolver)}", page.hops)
    digests = list(digests_of(records))
    if not digests:
        return Answer(SOURCE, url, "refused", f"{url}: no TXT record {name} vouches for the document", page.hops)
    seen = hashlib.sha256(page.body).digest()
    if not any(hmac.compare_digest(seen, digest) for digest in digests):
        text = f"{url}: the document's SHA-256 is {base64.b64encode(seen).decode()}, and the TXT record {name} vouches for another"
        return Answer(SOURCE, url, "refused", text, page.hops)
    try:
        servers = tuple(read(json.loads(page.body)))[:MOST_TOLD]
    except (ValueError, RecursionError):
        return Answer(SOURCE, url, "refused", f"{url}: the document is no JSON of this kind", page.hops)
    said = "" if servers else "the document names no SMTP, IMAP4 or POP3 server"
    return Answer(SOURCE, url, "found" if servers else "empty", said, page.hops, servers)


def digests_of(records: Iterable[bytes]) -> Iterator[bytes]:
    """The digests, as octets, of every record that has this form; others are none of ours."""
    for record in records:
        pairs = (part.partition("=") for part in record.decode("ascii", "replace").split(";"))
        tags = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if tags.get("v", "").lower() == "uaac1" and tags.get("a", "").lower() == "sha256":
            try:
                yield base64.b64decode(tags.get("d", ""), validate=True)
            except (binascii.Error, ValueError):
                continue


def read(document: object) -> Iterator[PublishedServer]:
    """The mail servers of a document. Raises ValueError for JSON of another shape."""
    protocols = document.get("protocols", {}) if isinstance(document, dict) else None
    if not isinstance(protocols, dict):
        raise ValueError("no object of protocols")
    for name, (protocol, port) in _PROTOCOLS.items():
        named = protocols.get(name)
        host = named.get("host") if isinstance(named, dict) else None
        if isinstance(host, str):
            yield from entry(protocol, host, port, "tls")
