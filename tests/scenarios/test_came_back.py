"""What came back, on real servers: Postfix signs by opendkim and hands over to another Postfix, where opendkim, opendmarc and
rspamd verify; the keys are in unbound. Whatever happens to the message, the probe says what its owner would find."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import probe
from probe.facts import Verified
from probe.report import Report
from tests.servers.mail import MailServers
from tests.servers.milters import Milters, why_not
from tests.servers.pki import Authority
from tests.servers.unbound import UNBOUND, serving, zone

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(bool(why_not() or not UNBOUND), reason=why_not() or "needs unbound (apt-get install unbound)"),
]
TAKES = {"smtpd_recipient_restrictions": "permit_auth_destination, reject"}
KEYS = {name: rsa.generate_private_key(65537, 2048) for name in ("s1", "other")}
# Asked at port 53, which is all that opendmarc knows: an address of loopback that nobody else has.
NAME_SERVER = "127.0.99.53"


def record(key: Any) -> str:
    text = (
        "v=DKIM1; k=rsa; p="
        + base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    )
    return " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200))


def records(**keys: Any) -> dict[str, str]:
    return {"_dmarc TXT": '"v=DMARC1; p=reject; adkim=s"', **{f"{name}._domainkey TXT": record(key) for name, key in keys.items()}}


class Sending(MailServers):
    """The submission's side: it has no mailbox of that domain, and hands everything over."""

    fqdn = "mail.example.test"


class Outside(MailServers):
    fqdn = "relay.outside.test"


class Receiving(MailServers):
    fqdn = "mx.example.test"


@pytest.fixture
def milters() -> Iterator[Milters]:
    with Milters() as started:
        yield started


@pytest.fixture
def way(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """`way(sending milters, receiving milters)` → a function that runs the probe through both."""
    with ExitStack() as stack:

        def start(sending: str, receiving: str, *, first: type[MailServers] = Sending, **postfix: str) -> Callable[..., Any]:
            leaf = authority.leaf("localhost", "127.0.0.1")
            last = stack.enter_context(Receiving(authority, certificate=leaf, extra_postfix={"smtpd_milters": receiving, **TAKES}))
            handed = {"relayhost": f"[127.0.0.1]:{last.ports['smtp25']}", "virtual_mailbox_domains": ""}
            front = stack.enter_context(
                first(authority, certificate=leaf, extra_postfix={"smtpd_milters": sending, **handed, **postfix})
            )
            monkeypatch.setenv("PW", "correct-Horse7battery")
            for servers in (front, last):
                servers.add_user("signed", "correct-Horse7battery")

            async def run(resolver: str, readers: tuple[str, ...] = ("imap",), **expect: object) -> Report:
                ports = {name: {"port": last.ports[f"{name}s"], "family": "ipv4"} for name in readers}
                tables = {
                    "submission": {"host": "127.0.0.1", "port": front.ports["submission"]},
                    "account": {"username": front.address("signed"), "password": {"env": "PW"}},
                    "readback": ports,
                    "tls": {"ca_file": str(authority.ca_file)},
                    "dns": {"resolvers": {"zone": resolver}},
                    "expect": expect,
                    "limits": {"timeout": "30s"},
                }
                report = await probe.run(tables, raise_bugs=True)
                assert report.delivery_seconds is not None, f"{report.findings}\n{front.log()[-3000:]}\n{last.log()[-3000:]}"
                return report

            return run

        yield start


def seen(report: Report, reader: str = "imap") -> Verified:
    return report.seen(f"{reader}.verify", Verified)


def found(report: Report) -> list[str]:
    return sorted(f"{finding.severity} {finding.id}" for finding in report.findings)


def signer(milters: Milters, resolver: str, **settings: object) -> str:
    own = {"Mode": "s", "Domain": "example.test", "Selector": "s1", "KeyFile": milters.key("s1", KEYS["s1"])}
    return milters.opendkim(resolver, "mail.example.test", {**own, **settings})


async def test_signed_verified_and_dmarc_passes(way: Any, milters: Milters, tmp_path: Path) -> None:
    made = zone("example.test.", records(s1=KEYS["s1"]))
    with serving(tmp_path, made) as resolver, serving(tmp_path, made, NAME_SERVER, 53):
        receiving = [
            milters.opendkim(resolver, "mx.example.test", {"Mode": "v", "InternalHosts": "192.0.2.1"}),
            milters.opendmarc(NAME_SERVER, "mx.example.test", "mx.example.test"),
        ]
        run = way(signer(milters, resolver), ", ".join(receiving))
        report = await run(resolver, ("imap", "pop3"), dkim="example.test", dmarc="pass")
    print(seen(report))
    for reader in ("imap", "pop3"):
        facts = seen(report, reader)
        assert [(one["domain"], one["selector"], one["result"], one["key_bits"], one["aligned"]) for one in facts.signatures] == [
            ("example.test", "s1", "pass", 2048, "strict")
        ]
        assert (facts.said_of("dkim") or {})["result"] == "pass" and (facts.said_of("dmarc") or {})["by"] == "mx.example.test"
    assert found(report) == [] and report.verdict == "ok"
