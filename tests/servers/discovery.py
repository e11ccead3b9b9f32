"""What discovery asks: a DNS server, and an HTTPS server that plays every host of a domain, on loopback."""

import asyncio
import base64
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from probe.observe.discover.web import Login, Way
from probe.report import Report
from probe.sandbox import Sandbox
from probe.tasks import discover

Zone = dict[tuple[str, str], list[str]]


class _Dns(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone, otherwise: dns.rcode.Rcode) -> None:
        self.zone, self.otherwise = zone, otherwise

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        question = query.question[0]
        name, kind = str(question.name).lower(), question.rdtype.name
        if (name, kind) in self.zone:
            response.answer.append(dns.rrset.from_text(question.name, 300, "IN", kind, *self.zone[name, kind]))
        elif not any(known == name for known, _ in self.zone):
            response.set_rcode(self.otherwise)
        self.transport.sendto(response.to_wire(), address)


@asynccontextmanager
async def names(zone: Zone, otherwise: dns.rcode.Rcode = dns.rcode.NXDOMAIN) -> AsyncIterator[str]:
    """A DNS server for these records (absolute names); yields HOST:PORT."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Dns(zone, otherwise), local_addr=("127.0.0.1", 0))
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


@dataclass
class Request:
    method: str
    host: str
    path: str
    headers: dict[str, str]
    body: bytes


Writer = asyncio.StreamWriter
Handler = Callable[[Request, Writer], Awaitable[None] | None]


@dataclass
class Site:
    """Answers by (host, path without its query), else 404; keeps every request."""

    pages: dict[tuple[str, str], Handler] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    octets_sent: int = 0
    address: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            request = await _request(reader)
            self.requests.append(request)
            handler = self.pages.get((request.host, request.path.partition("?")[0]), page(b"not here", status=404))
            done = handler(request, writer)
            if done is not None:
                await done
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader) -> Request:
    first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    method, path, _ = first.split(" ")
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, headers["host"], path, headers, body)


def page(body: bytes, *, status: int = 200, **headers: str) -> Handler:
    """A handler that answers with this."""

    def handle(request: Request, writer: Writer) -> None:
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return handle


def redirect(location: str, status: int = 302) -> Handler:
    return page(b"", status=status, Location=location)


def behind_password(token: str, handler: Handler, challenge: str = 'Basic realm="mail"') -> Handler:
    """Answers only when the Authorization header is this one."""

    def handle(request: Request, writer: Writer) -> Any:
        if request.headers.get("authorization") == token:
            return handler(request, writer)
        return page(b"who are you?", status=401, WWW_Authenticate=challenge)(request, writer)

    return handle


@asynccontextmanager
async def https(certificate: Any, pages: dict[tuple[str, str], Handler]) -> AsyncIterator[Site]:
    """The server for all hosts; its certificate is `certificate` (tests.servers.pki)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    site = Site(pages)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.get_running_loop().create_task(site.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    site.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield site
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def autoconfig(*servers: tuple[str, str, int, str]) -> bytes:
    """A clientConfig with these (protocol, host, port, socketType)."""
    inner = ""
    for protocol, host, port, kind in servers:
        tag = "outgoingServer" if protocol == "smtp" else "incomingServer"
        inner += f'<{tag} type="{protocol}"><hostname>{host}</hostname><port>{port}</port><socketType>{kind}</socketType>'
        inner += f"<username>%EMAILADDRESS%</username></{tag}>"
    return f'<clientConfig version="1.1"><emailProvider id="x">{inner}</emailProvider></clientConfig>'.encode()


def pox(*servers: tuple[str, str, int, str]) -> bytes:
    """An Autodiscover answer with these (SMTP|POP3|IMAP, host, port, Encryption)."""
    inner = "".join(
        f"<Protocol><Type>{kind}</Type><Server>{host}</Server><Port>{port}</Port><Encryption>{how}</Encryption></Protocol>"
        for kind, host, port, how in servers
    )
    schema = "http://schemas.microsoft.com/exchange/autodiscover"
    return (
        f'<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="{schema}/responseschema/2006">'
        f'<Response xmlns="{schema}/outlook/responseschema/2006a"><Account><AccountType>email</AccountType>'
        f"<Action>settings</Action>{inner}</Account></Response></Autodiscover>"
    ).encode()


def soap(**settings: tuple[str, int, str]) -> bytes:
    """A GetUserSettings answer: setting name → (host, port, EncryptionMethod)."""
    inner = "".join(
        f'<UserSetting i:type="ProtocolConnectionCollectionSetting"><Name>{name}</Name><ProtocolConnections><ProtocolConnection>'
        f"<EncryptionMethod>{how}</EncryptionMethod><Hostname>{host}</Hostname><Port>{port}</Port>"
        "</ProtocolConnection></ProtocolConnections></UserSetting>"
        for name, (host, port, how) in settings.items()
    )
    return (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
        '<s:Body><GetUserSettingsResponseMessage xmlns="http://schemas.microsoft.com/exchange/2010/Autodiscover"><Response>'
        "<ErrorCode>NoError</ErrorCode><ErrorMessage/><UserResponses><UserResponse><ErrorCode>NoError</ErrorCode>"
        f"<ErrorMessage>No error.</ErrorMessage><UserSettingErrors/><UserSettings>{inner}</UserSettings>"
        "</UserResponse></UserResponses></Response></GetUserSettingsResponseMessage></s:Body></s:Envelope>"
    ).encode()


# -- a whole domain ----------------------------------------------------------------------------------------------

ADDRESS = "anna@contoso.test"
AUTOCONFIG = ("autoconfig.contoso.test", "/mail/config-v1.1.xml")
WELL_KNOWN = ("contoso.test", "/.well-known/autoconfig/mail/config-v1.1.xml")
POX = ("autodiscover.contoso.test", "/autodiscover/autodiscover.xml")
SOAP = ("autodiscover.contoso.test", "/autodiscover/autodiscover.svc")
TOKEN = "Basic " + base64.b64encode(b"anna@contoso.test:correct-Horse9").decode()
Pages = dict[tuple[str, str], Handler]
LOGIN = Login(ADDRESS, "correct-Horse9")


@dataclass
class World:
    """A domain under test: where DNS and HTTPS are, whom to trust."""

    resolver: str
    site: Site
    ca_file: Path

    async def ask(self, *, verify: bool = False, login: Login | None = None, seconds: float = 5.0) -> Report:
        asked = discover.question(
            ADDRESS,
            Way(ca_file=str(self.ca_file), resolver=self.resolver, connect=self.site.address, seconds=seconds),
            verify=verify,
            login=login,
        )
        return await discover.discover(asked)


@asynccontextmanager
async def world(
    authority: Any, certificate: Any, pages: Pages, zone: Zone | None = None, ca: Path | None = None
) -> AsyncIterator[World]:
    async with names(zone or {}) as resolver, https(certificate, pages) as site:
        yield World(resolver, site, ca or authority.ca_file)


@asynccontextmanager
async def healthy(authority: Any, certificate: Any, folder: Path) -> AsyncIterator[tuple[World, Sandbox]]:
    """DNS, autoconfig, POX and SOAP that all tell the sandbox, by its name."""
    async with Sandbox() as sandbox:
        at, host = sandbox.addresses, sandbox.fqdn
        told = (("smtp", host, at["submission"].port, "STARTTLS"), ("imap", host, at["imaps"].port, "SSL"))
        pages = {
            AUTOCONFIG: page(autoconfig(*told, ("pop3", host, at["pop3s"].port, "SSL"))),
            POX: behind_password(
                TOKEN, page(pox(("SMTP", host, at["submission"].port, "TLS"), ("IMAP", host, at["imaps"].port, "SSL")))
            ),
            SOAP: behind_password(
                TOKEN,
                page(
                    soap(
                        ExternalSmtpConnections=(host, at["submission"].port, "TLS"),
                        ExternalImap4Connections=(host, at["imaps"].port, "SSL"),
                        ExternalPop3Connections=(host, at["pop3s"].port, "SSL"),
                    )
                ),
            ),
        }
        zone = {
            ("_submission._tcp.contoso.test.", "SRV"): [f"0 1 {at['submission'].port} {host}."],
            ("_submissions._tcp.contoso.test.", "SRV"): [f"0 1 {at['submissions'].port} {host}."],
            ("_imaps._tcp.contoso.test.", "SRV"): [f"0 1 {at['imaps'].port} {host}."],
            (f"{host}.", "A"): ["127.0.0.1"],
        }
        both = folder / "both.pem"
        both.write_bytes(authority.ca_file.read_bytes() + sandbox.ca_file.read_bytes())
        async with world(authority, certificate, pages, zone, both) as made:
            yield made, sandbox


async def command(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "probe", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()
