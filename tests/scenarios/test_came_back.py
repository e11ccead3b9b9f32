"""What came back, on real servers: Postfix signs by opendkim and hands over to another Postfix, where opendkim, opendmarc and
rspamd verify; the keys are in unbound. Whatever happens to the message, the probe says what its owner would find."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import probe
from probe.facts import Verified
from probe.message.evidence.authentication import FROM_OUTSIDE
from probe.output import Context, prometheus
from probe.output._came_back import line
from probe.output._compared import lines
from probe.report import Report
from probe.report.as_json import to_json
from probe.runs.compare import compare
from probe.tasks import prepare
from tests.servers import filters
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
CONTEXT = Context(started="2026-11-27T10:00:00Z", seconds=1.0)
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
def probed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the probe: submission at the one, readers at the other; `shifted`: by how much its clock is ahead."""

    async def run(
        front: MailServers, last: MailServers, authority: Authority, resolver: str, expect: object,
        readers: tuple[str, ...] = ("imap",), shifted: timedelta = timedelta(0),
    ) -> Report:  # fmt: skip
        monkeypatch.setenv("PW", "correct-Horse7battery")
        for servers in (front, last):
            servers.add_user("signed", "correct-Horse7battery")
        tables = {
            "submission": {"host": "127.0.0.1", "port": front.ports["submission"]},
            "account": {"username": front.address("signed"), "password": {"env": "PW"}},
            "readback": {name: {"port": last.ports[f"{name}s"], "family": "ipv4"} for name in readers},
            "tls": {"ca_file": str(authority.ca_file)},
            "dns": {"resolvers": {"zone": resolver}},
            "expect": expect,
            "limits": {"timeout": "40s"},
        }
        monkeypatch.setattr(prepare, "time_of_day", lambda: datetime.now(UTC) + shifted)
        report = await probe.run(tables, raise_bugs=True)
        assert report.delivery_seconds is not None, f"{report.findings}\n{front.log()[-3000:]}\n{last.log()[-3000:]}"
        return report

    return run


@pytest.fixture
def way(authority: Authority, probed: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """`way(sending milters, receiving milters)` → a function that runs the probe through both."""
    with ExitStack() as stack:

        def start(sending: str, receiving: str, *, first: type[MailServers] = Sending, **postfix: str) -> Callable[..., Any]:
            leaf = authority.leaf("localhost", "127.0.0.1")
            last = stack.enter_context(Receiving(authority, certificate=leaf, extra_postfix={"smtpd_milters": receiving, **TAKES}))
            handed = {"relayhost": f"[127.0.0.1]:{last.ports['smtp25']}", "virtual_mailbox_domains": ""}
            front = stack.enter_context(
                first(authority, certificate=leaf, extra_postfix={"smtpd_milters": sending, **handed, **postfix})
            )

            async def run(
                resolver: str, readers: tuple[str, ...] = ("imap",), shifted: timedelta = timedelta(0), **expect: object
            ) -> Report:
                return await probed(front, last, authority, resolver, expect, readers, shifted)

            return run

        yield start


def seen(report: Report, reader: str = "imap") -> Verified:
    return report.seen(f"{reader}.verify", Verified)


def found(report: Report) -> list[str]:
    return sorted(f"{finding.severity} {finding.id}" for finding in report.findings)


def signs(milters: Milters) -> dict[str, object]:
    return {"Mode": "s", "Domain": "example.test", "Selector": "s1", "KeyFile": milters.key("s1", KEYS["s1"])}


def signer(milters: Milters, resolver: str) -> str:
    return milters.opendkim(resolver, "mail.example.test", signs(milters))


async def test_signed_verified_and_dmarc_passes(way: Any, milters: Milters, tmp_path: Path) -> None:
    """And with other keys in DNS the same message is found wanting: only what the probe asks has changed."""
    made = zone("example.test.", records(s1=KEYS["s1"], s2=KEYS["s1"]))
    with ExitStack() as stack:
        resolver, _ = stack.enter_context(serving(tmp_path, made)), stack.enter_context(serving(tmp_path, made, NAME_SERVER, 53))
        receiving = [
            milters.opendkim(resolver, "mx.example.test", {"Mode": "v", "InternalHosts": "192.0.2.1"}),
            milters.opendmarc(NAME_SERVER, "mx.example.test", "mx.example.test"),
        ]
        # A second signature, of one second.
        short = milters.opendkim(resolver, "mail.example.test", {**signs(milters), "Selector": "s2", "SignatureTTL": 1})
        run = way(f"{signer(milters, resolver)}, {short}", ", ".join(receiving))
        report = await run(resolver, ("imap", "pop3"), dkim="example.test", dmarc="pass")
        for reader in ("imap", "pop3"):
            facts = seen(report, reader)
            holds = {one["selector"]: (one["domain"], one["result"], one["key_bits"], one["aligned"]) for one in facts.signatures}
            assert holds["s1"] == ("example.test", "pass", 2048, "strict") and set(holds) == {"s1", "s2"}
            assert (facts.said_of("dkim") or {})["result"] == "pass"
            assert (facts.said_of("dmarc") or {})["result"] == "pass" and (facts.said_of("dmarc") or {})["by"] == "mx.example.test"
        assert not [one for one in found(report) if not one.startswith("info")] and report.verdict == "ok"
        assert line(report) == "came back signed by example.test, DMARC pass, 3 hops, all TLS"
        series = prometheus.write([report], CONTEXT)
        for name, value in (("dkim_pass", 1), ("dmarc_pass", 1), ("hops", 3), ("hops_without_tls", 0)):
            assert f'submission_probe_{name}{{profile="profile"}} {value}\n' in series

        later = await run(resolver, shifted=timedelta(hours=1), dkim="example.test")
        expired = next(one for one in seen(later).signatures if one["selector"] == "s2")
        assert (expired["result"], expired["why"]) == ("fail", "the signature has expired")
        assert next(one for one in seen(later).signatures if one["selector"] == "s1")["result"] == "pass"

        for records_now, why in OTHER_KEYS.items():
            folder = tmp_path / str(len(records_now) + hash(why) % 1000)
            folder.mkdir()
            with serving(folder, zone("example.test.", dict(records_now))) as other:
                report = await run(other, dkim="example.test")
            assert {one["why"] for one in seen(report).signatures} == {why}
            assert "critical dkim.failed" in found(report) and report.failed_stage == "imap.verify"
            assert report.stages[-1].status == "ok"  # it was deleted all the same


def _huge() -> str:
    return " ".join(['"v=DKIM1; p="', *['"' + "A" * 250 + '"'] * 230])


OTHER_KEYS = {
    tuple(records(s1=KEYS["other"], s2=KEYS["other"]).items()): (
        "a signed header field was changed on the way, or the key was replaced"
    ),
    tuple(records().items()): "there is no key in DNS",
    (("s1._domainkey TXT", '"v=DKIM1; p="'), ("s2._domainkey TXT", '"v=DKIM1; p="')): (
        "the key was revoked: its record is there, and empty"
    ),
    (("s1._domainkey TXT", _huge()), ("s2._domainkey TXT", _huge())): "the key record is longer than is read (8192 octets)",
}


async def test_rspamd_scores_verifies_and_seals(way: Any, milters: Milters, tmp_path: Path) -> None:
    made = zone("example.test.", records(s1=KEYS["s1"], arc=KEYS["other"]))
    with serving(tmp_path, made) as resolver:
        key = milters.key("arc", KEYS["other"])
        seals = f'sign_inbound = true; sign_local = true; use_domain = "recipient"; selector = "arc"; path = "{key}";\n'
        run = way(signer(milters, resolver), milters.rspamd(resolver, {"arc.conf": seals}))
        report = await run(resolver, spam_score_below=100)
    facts = seen(report)
    assert [(one["by"], one["threshold"]) for one in facts.spam] == [("rspamd", 15.0)]
    assert facts.spam[0]["score"] is not None and {"R_DKIM_ALLOW", "ARC_SIGNED"} <= set(facts.spam[0]["tests"])
    assert (facts.said_of("dkim") or {})["result"] == "pass"
    assert facts.arc == {"sets": 1, "sealers": ["example.test"], "result": "pass", "why": None}
    assert "ARC chain of 1 pass" in line(report)


async def test_results_that_a_relay_outside_forged(way: Any, tmp_path: Path) -> None:
    """It writes results under the receiving side's own name, and a good score."""
    fields = "Authentication-Results: mx.example.test; dkim=pass header.d=example.test; dmarc=pass header.from=example.test"
    checks = tmp_path / "checks"
    checks.write_text(
        f"/^Message-ID:/ PREPEND {fields}\n/^Subject:/ PREPEND X-Spam-Status: No, score=-9.0 required=5.0 tests=FORGED\n"
    )
    run = way("", "", first=Outside, header_checks=f"regexp:{checks}")
    report = await run("127.0.0.1:9", dmarc="pass", spam_score_below=5)
    facts = seen(report)
    assert [(one["method"], one["ignored"]) for one in facts.authentication] == [
        ("dkim", FROM_OUTSIDE),
        ("dmarc", FROM_OUTSIDE),
    ]
    assert facts.spam == [] and facts.said_of("dmarc") is None
    assert {"critical dmarc.failed", "info authentication.ignored", "warning spam.verdict"} <= set(found(report))


@pytest.mark.skipif(bool(filters.why_not()), reason=filters.why_not() or "")
@pytest.mark.parametrize("milter", ["footer", "spam"])
async def test_a_filter_behind_the_signer(milter: str, authority: Authority, milters: Milters, tmp_path: Path, probed: Any) -> None:
    """MIMEDefang's footer breaks the signature, and SpamAssassin's verdict is read."""
    with serving(tmp_path, zone("example.test.", records(s1=KEYS["s1"]))) as resolver:
        signs_first = signer(milters, resolver)
        with filters.FilteredMailServers(authority, milter, before=signs_first) as servers:
            report = await probed(servers, servers, authority, resolver, {"dkim": "example.test"} if milter == "footer" else {})
    facts = seen(report)
    if milter == "footer":
        assert [(one["result"], one["why"]) for one in facts.signatures] == [("fail", "the body was changed behind the signature")]
        assert {"critical dkim.failed", "warning message.altered"} <= set(found(report))
    else:
        assert [(one["by"], one["threshold"], one["spam"]) for one in facts.spam] == [("SpamAssassin", 5.0, True)]
        assert facts.spam[0]["score"] and facts.spam[0]["score"] > 90 and "EVERY_MESSAGE" in facts.spam[0]["tests"]
        assert "info spam.verdict" in found(report)


async def test_dkim_stopped(way: Any, milters: Milters, tmp_path: Path) -> None:
    """The next run compares: the signer is gone."""
    with serving(tmp_path, zone("example.test.", records(s1=KEYS["s1"]))) as resolver:
        run = way(signer(milters, resolver), "", milter_default_action="accept")
        signed = await run(resolver)
        milters.end()
        unsigned = await run(resolver)
    before, after = (to_json([one], started=one.started, seconds=1.0, version="0") for one in (signed, unsigned))
    changes = compare(before, after)
    said = [words for _, _, words in lines(changes)]
    assert any(words.startswith("DKIM stopped: imap.dkim.example.test: example.test signed before (pass)") for words in said), said
    assert changes.verdict == "critical" and 'dkim_pass{profile="profile"} 0\n' in prometheus.write([unsigned], CONTEXT)
