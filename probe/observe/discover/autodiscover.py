"""Exchange's Autodiscover: POX ([MS-OXDSCLI]) and SOAP GetUserSettings ([MS-OXWSADISC]), over HTTPS only; and V2, in JSON.

Exchange gives its settings to those who log on, so without credentials the answer is usually a 401; that too is an answer. V2
answers strangers, and says no more than where a protocol's Autodiscover is.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.sax.saxutils import escape

from probe.observe.discover.document import each, is_web_page, local, parsed, text
from probe.observe.discover.published import MOST_TOLD, Answer, PublishedServer, entry, secured_as, unanswered
from probe.observe.discover.web import Page, Web, redirect_target
from probe.observe.trouble import Stopped

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

POX, SOAP, V2 = "autodiscover-pox", "autodiscover-soap", "autodiscover-v2"
SETTINGS = tuple(f"{scope}{kind}Connections" for scope in ("External", "Internal") for kind in ("Smtp", "Pop3", "Imap4"))
_OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook"
_SERVICE = "http://schemas.microsoft.com/exchange/2010/Autodiscover"
_PROTOCOLS = {"SMTP": "smtp", "IMAP": "imap", "POP3": "pop3", "Smtp": "smtp", "Imap4": "imap", "Pop3": "pop3"}


async def ask(web: Web, address: str, domain: str) -> tuple[Answer, ...]:
    """POX and SOAP at `autodiscover.DOMAIN` and at the domain itself. Never raises."""
    hosts = (f"autodiscover.{domain}", domain)
    questions = [_pox(web, address, f"https://{host}/autodiscover/autodiscover.xml") for host in hosts]
    questions += [_soap(web, address, f"https://{host}/autodiscover/autodiscover.svc") for host in hosts]
    return tuple(await asyncio.gather(*questions))


async def ask_v2(web: Web, address: str, domain: str) -> tuple[Answer, ...]:
    """Autodiscover V2 at both hosts: which Autodiscover is for this mailbox. `web` has no login: none is needed. Never raises."""
    places = (f"https://{host}/autodiscover/autodiscover.json" for host in (f"autodiscover.{domain}", domain))
    query = f"?Email={quote(address, safe='')}&Protocol=AutodiscoverV1"
    return tuple(await asyncio.gather(*(_v2(web, f"{place}{query}") for place in places)))


async def _v2(web: Web, url: str) -> Answer:
    try:
        page = await web.fetch("GET", url, headers={"Accept": "application/json"})
        said = _of_json(page.body) if page.status == 200 else None
        if said is None:
            answered = "without a document of this kind" if page.status == 200 else str(page.status)
            return Answer(V2, url, "absent", f"the web server answers {answered}", page.hops)
        return Answer(V2, url, "found", f"Autodiscover for this mailbox is at {redirect_target(url, said)}", page.hops)
    except Stopped as error:
        return unanswered(V2, url, error)


def _of_json(body: bytes) -> str | None:
    """The address that `{"Protocol": "AutodiscoverV1", "Url": "…"}` gives."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    named = found.get("Url") if isinstance(found, dict) else None
    return named if isinstance(named, str) else None


async def _pox(web: Web, address: str, url: str) -> Answer:
    body = (
        f'<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="{_OUTLOOK}/requestschema/2006"><Request>'
        f"<EMailAddress>{escape(address)}</EMailAddress>"
        f"<AcceptableResponseSchema>{_OUTLOOK}/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>"
    )
    return await _ask(web, POX, url, body, {"Content-Type": "text/xml; charset=utf-8"}, "Autodiscover", _read_pox)


async def _soap(web: Web, address: str, url: str) -> Answer:
    action = f"{_SERVICE}/Autodiscover/GetUserSettings"
    wanted = "".join(f"<a:Setting>{name}</a:Setting>" for name in SETTINGS)
    body = (
        '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        f'xmlns:a="{_SERVICE}" xmlns:w="http://www.w3.org/2005/08/addressing"><s:Header>'
        f"<a:RequestedServerVersion>Exchange2013</a:RequestedServerVersion><w:Action>{action}</w:Action><w:To>{url}</w:To>"
        "</s:Header><s:Body><a:GetUserSettingsRequestMessage><a:Request><a:Users><a:User>"
        f"<a:Mailbox>{escape(address)}</a:Mailbox></a:User></a:Users><a:RequestedSettings>{wanted}</a:RequestedSettings>"
        "</a:Request></a:GetUserSettingsRequestMessage></s:Body></s:Envelope>"
    )
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{action}"'}
    return await _ask(web, SOAP, url, body, headers, "Envelope", _read_soap)


async def _ask(
    web: Web,
    source: str,
    url: str,
    body: str,
    headers: dict[str, str],
    root: str,
    read: Callable[["Element"], Iterator[PublishedServer]],
) -> Answer:
    try:
        page = await web.fetch("POST", url, body.encode(), headers)
        if page.status == 200 and not is_web_page(page.body):
            return _answer(source, url, page, parsed(page.body, root, page.url), read)
        return _without_document(source, url, page)
    except Stopped as error:
        return unanswered(source, url, error)


def _without_document(source: str, url: str, page: Page) -> Answer:
    if page.status == 401:
        return Answer(source, url, "credentials", page.withheld, page.hops, username_sent=page.authenticated)
    said = "with a web page" if page.status == 200 else str(page.status)
    return Answer(source, url, "absent", f"the web server answers {said}", page.hops, username_sent=page.authenticated)


def _answer(source: str, url: str, page: Page, root: "Element", read: Callable[["Element"], Iterator[PublishedServer]]) -> Answer:
    told = tuple(read(root))[:MOST_TOLD]
    sent = page.authenticated
    if told:
        return Answer(source, url, "found", "", page.hops, told, username_sent=sent)
    named = _elsewhere(root)
    if named:
        text = f"it names another place to ask: {_shown(url, named)}"
        return Answer(source, url, "redirected", text, page.hops, username_sent=sent)
    refusal = _refusal(root)
    if refusal:
        return Answer(source, url, "absent", f"it answers with an error: {refusal}", page.hops, username_sent=sent)
    return Answer(source, url, "empty", "it answers, and publishes no SMTP, IMAP4 or POP3 server", page.hops, username_sent=sent)


def _elsewhere(root: "Element") -> str | None:
    """POX RedirectAddr and RedirectUrl, SOAP RedirectTarget: another mailbox or another server to ask."""
    for name in ("RedirectAddr", "RedirectUrl", "RedirectURL", "RedirectTarget"):
        for element in each(root, name):
            if (element.text or "").strip():
                return (element.text or "").strip()
    return None


def _shown(url: str, named: str) -> str:
    """An address as it is; a URL only when it is one that could be followed. Raises Stopped otherwise."""
    if "@" in named and "/" not in named:
        return f"run it again with {named!a}"
    return redirect_target(url, named)


def _refusal(root: "Element") -> str:
    codes = [(element.text or "").strip() for element in each(root, "ErrorCode")]
    messages = [(element.text or "").strip() for name in ("ErrorMessage", "Message", "faultstring") for element in each(root, name)]
    # SettingIsNotAvailable is the error of one setting: the answer as a whole is an empty one.
    wrong = [code for code in codes if code not in ("", "NoError", "SettingIsNotAvailable")]
    if not wrong and not any(local(element) == "Fault" for element in root.iter()):
        return ""
    return " ".join((*wrong[:1], *[text for text in messages if text and text != "No error."][:1])) or "a SOAP fault"


def _read_pox(root: "Element") -> Iterator[PublishedServer]:
    for protocol in each(root, "Protocol"):
        kind = _PROTOCOLS.get((text(protocol, "Type") or protocol.get("Type") or "").upper())
        if kind:
            host, port, user = (text(protocol, name) for name in ("Server", "Port", "LoginName"))
            yield from entry(kind, host, port, _pox_security(protocol, port), username=user)


def _pox_security(protocol: "Element", port: str | None) -> str:
    """`Encryption` (None, SSL, TLS, Auto) goes before `SSL` (on unless it says off), as [MS-OXDSCLI] has it."""
    named = (text(protocol, "Encryption") or "").lower()
    if named in ("none", "ssl", "tls"):
        return {"none": "plaintext", "ssl": "tls", "tls": "starttls"}[named]
    if named != "auto" and (text(protocol, "SSL") or "on").lower() == "off":
        return "plaintext"
    return secured_as(port)


def _read_soap(root: "Element") -> Iterator[PublishedServer]:
    for setting in each(root, "UserSetting"):
        name = text(setting, "Name") or ""
        if name in SETTINGS:
            scope, kind = name[:8].lower(), _PROTOCOLS[name[8:].removesuffix("Connections")]
            for connection in each(setting, "ProtocolConnection"):
                port = text(connection, "Port")
                method = (text(connection, "EncryptionMethod") or "").lower()
                security = {"none": "plaintext", "ssl": "tls", "tls": "starttls"}.get(method) or secured_as(port)
                yield from entry(kind, text(connection, "Hostname"), port, security, scope)
