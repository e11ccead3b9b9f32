"""Thunderbird's autoconfig: a document on the domain's own web servers, asked for without credentials.

Format: "Autoconfig file format" and "Autoconfiguration in Thunderbird" on wiki.mozilla.org; draft-ietf-mailmaint-autoconfig.
"""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

from probe.observe.discover.document import each, is_web_page, parsed, text
from probe.observe.discover.published import MOST_TOLD, Answer, PublishedServer, entry, unanswered
from probe.observe.discover.web import Page, Web
from probe.observe.trouble import Stopped

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SOURCE = "autoconfig"
_SECURITY = {"ssl": "tls", "starttls": "starttls", "plain": "plaintext"}


async def ask(web: Web, address: str, domain: str) -> tuple[Answer, ...]:
    """Both places a domain can put the document at. Never raises."""
    urls = (
        f"https://autoconfig.{domain}/mail/config-v1.1.xml?emailaddress={quote(address, safe='')}",
        f"https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml",
    )
    return tuple(await asyncio.gather(*(_ask(web, url, address) for url in urls)))


async def _ask(web: Web, url: str, address: str) -> Answer:
    try:
        page = await web.fetch("GET", url)
        return _answer(url, page, address)
    except Stopped as error:
        return unanswered(SOURCE, url, error)


def _answer(url: str, page: Page, address: str) -> Answer:
    if page.status != 200:
        return Answer(SOURCE, url, "absent", f"the web server answers {page.status}", page.hops)
    if is_web_page(page.body):
        return Answer(SOURCE, url, "absent", "the web server answers with a web page, not with a configuration", page.hops)
    told = read(parsed(page.body, "clientConfig", page.url), address)
    found = "found" if told else "empty"
    return Answer(SOURCE, url, found, "" if told else "the document names no server", page.hops, told)  # type: ignore[arg-type]


def read(root: "Element", address: str) -> tuple[PublishedServer, ...]:
    """The servers of a clientConfig, with its placeholders filled in."""
    told: list[PublishedServer] = []
    for name, protocols in (("incomingServer", ("imap", "pop3")), ("outgoingServer", ("smtp",))):
        for server in each(root, name):
            protocol = (server.get("type") or "").lower()
            if protocol in protocols and len(told) < MOST_TOLD:
                port = text(server, "port")
                security = _SECURITY.get((text(server, "socketType") or "").lower())
                host, user = (_filled(text(server, key), address) for key in ("hostname", "username"))
                # A socketType that is unknown makes Thunderbird pass over the server, too.
                told += entry(protocol, host, port, security, username=user) if security else ()
    return tuple(told)


def _filled(value: str | None, address: str) -> str | None:
    if value is None:
        return None
    local, _, domain = address.rpartition("@")
    for mark, meant in (("%EMAILADDRESS%", address), ("%EMAILLOCALPART%", local), ("%EMAILDOMAIN%", domain)):
        value = value.replace(mark, meant)
    return value
