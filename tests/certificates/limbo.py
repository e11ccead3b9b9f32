"""Chains after the rules that the server cases of x509-limbo (C2SP) are about, under its names and with what it expects of each.

No package registry has limbo's own file: these are not its certificates, each is made here by the rule in its name. Left out are
- its cases about revocation lists and client certificates, and its recorded chains of public sites;
- leaves that a TLS server of OpenSSL's cannot show: DSA and P-192 keys, an RSA key that is none, no key usage at all, the same
  extension twice, a subjectAltName that is no ASN.1;
- a negative serial number, which nothing makes any more, and dates to a fraction of a second, which no real handshake hits.
Where limbo's host is one that IDNA 2008 forbids, and a profile with it, another international name stands here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID

from tests.certificates.chains import Made
from tests.certificates.odd import HOST, Extension, basic, ca, ee, extended, named, only, raw, san, usage


@dataclass(frozen=True)
class Case:
    """`good`: limbo expects that the chain is accepted. `sent`: leaf first."""

    good: bool
    sent: tuple[Made, ...]
    trusted: tuple[Made, ...]
    host: str = HOST


ROOT = ca("limbo root")
ICA = ca("limbo intermediate", ROOT)


def leaf(good: bool, *put: Extension, host: str = HOST, **more: Any) -> Callable[[], Case]:
    """The leaf is what the case is about."""
    return lambda: Case(good, (ee(ROOT, *put, **more),), (ROOT,), host)


def names(good: bool, name: str, host: str) -> Callable[[], Case]:
    return leaf(good, names=(name,), host=host)


def common_name(text: str, *sans: str) -> Callable[[], Case]:
    """Limbo has every CN refused that is not one of the names, letter by letter (CA/B Forum BR 7.1.4.3)."""
    return leaf(False, subject=named(text), names=sans, host=sans[0])


def root(good: bool, *put: Extension, sans: tuple[str, ...] = (HOST,), **more: Any) -> Callable[[], Case]:
    """The root is what the case is about."""

    def case() -> Case:
        made = ca("odd root", None, *put, **more)
        return Case(good, (ee(made, names=sans),), (made,), sans[0])

    return case


def ica(good: bool, *put: Extension, sans: tuple[str, ...] = (HOST,), host: str = "", **more: Any) -> Callable[[], Case]:
    """The intermediate is what the case is about."""

    def case() -> Case:
        made = ca("odd intermediate", ROOT, *put, **more)
        return Case(good, (ee(made, names=sans), made), (ROOT,), host or sans[0])

    return case


def directory(good: bool, constraints: Extension, subject: str, alternative: str) -> Callable[[], Case]:
    """Name constraints for directory names; beside them the host, without which nothing would be accepted."""

    def case() -> Case:
        made = ca("narrow root", None, constraints)
        return Case(good, (ee(made, subject=named(subject), names=(HOST, alternative)),), (made,))

    return case


def path(good: bool, *lengths: int, same: int | None = None) -> Callable[[], Case]:
    """Intermediates with these path lengths, from the root down; the one numbered `same` has its issuer's name."""

    def case() -> Case:
        chain = [ROOT]
        for number, length in enumerate(lengths):
            subject = chain[-1].certificate.subject if number == same else None
            chain.append(ca(f"path {number}", chain[-1], basic(True, length), subject=subject))
        return Case(good, (ee(chain[-1]), *reversed(chain[1:])), (ROOT,))

    return case


def below(good: bool, first: tuple[Extension, ...], second: tuple[Extension, ...], name: str) -> Callable[[], Case]:
    """Two intermediates, each with something odd."""

    def case() -> Case:
        upper = ca("upper", ROOT, *first)
        lower = ca("lower", upper, *second)
        return Case(good, (ee(lower, names=(name,)), lower, upper), (ROOT,), name)

    return case


def authority_key(*, identifier: bool = True, issuer: bool = False, serial: bool = False, own: bool = True) -> Callable[[], Case]:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    made = x509.AuthorityKeyIdentifier.from_issuer_public_key((key if own else other).public_key())
    made._key_identifier = made.key_identifier if identifier else None
    made._authority_cert_issuer = [x509.DirectoryName(named("myCN"))] if issuer else None
    made._authority_cert_serial_number = 1234 if serial else None
    return root(False, (made, False), key=key)


def with_serverauth(oid: x509.ObjectIdentifier, good: bool = False) -> Callable[[], Case]:
    return leaf(good, extended(ExtendedKeyUsageOID.SERVER_AUTH, oid))


def expired(which: int) -> Callable[[], Case]:
    def case() -> Case:
        days = [(-400, -5) if number == which else (-300, 90) for number in range(3)]
        top = ca("dated root", None, days=days[0])
        middle = ca("dated intermediate", top, days=days[1])
        return Case(False, (ee(middle, days=days[2]), middle), (top,))

    return case


def untrusted_root() -> Case:
    return Case(False, (ee(ICA), ICA, ROOT), (ca("unrelated root"),))


def not_sent(*put: Extension, **more: Any) -> Callable[[], Case]:
    """Limbo's case gives the validator no intermediate either."""
    return lambda: Case(False, (ee(ca("unsent", ROOT, *put, **more)),), (ROOT,))


def swapped() -> Case:
    return Case(True, (ee(ICA), ROOT), (ICA,))


def ca_as_leaf(good: bool, host: str) -> Callable[[], Case]:
    return lambda: Case(good, (ca("a CA", ROOT, san("ca.example.com")),), (ROOT,), host)


def expired_cross_sign() -> Case:
    """The chain of pain: both roots are trusted, and the server sends an old cross-sign beside its leaf."""
    second = ca("second root")
    cross = ca("", second, subject=ROOT.certificate.subject, key=ROOT.key, days=(-4000, -400))
    return Case(True, (ee(ROOT), cross), (ROOT, second))


def cycle(*names: str) -> Callable[[], Case]:
    """Two that sign each other; neither leads to the root."""

    def case() -> Case:
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in names]
        signers = [Made(ROOT.certificate, key) for key in keys]
        one, two = (
            ca(names[own], signers[1 - own], key=keys[own], issuer=named(names[1 - own])) for own in range(2)
        )  # fmt: skip
        return Case(False, (ee(one), one, two), (ROOT,))

    return case


def mutual_cross_signs() -> Case:
    """CVE-2024-0567: A is a root and also signed by B and C, which A and each other sign."""
    parts = {name: ca(f"Root {name}") for name in "ABC"}
    crosses = [
        ca("", by, subject=parts[name].certificate.subject, key=parts[name].key)
        for name in "ABC" for by in parts.values() if by is not parts[name]
    ]  # fmt: skip
    first = ca("Intermediate A1", parts["A"])
    return Case(True, (ee(first), first, *crosses), (parts["A"],))


def self_issued() -> Case:
    """Name constraints do not count for a CA that has its issuer's name."""
    top = ca("not-example.com", None, only(HOST))
    middle = ca("not-example.com", top, san("not-example.com"))
    return Case(True, (ee(middle), middle), (top,))


def alternate(both_trusted: bool) -> Callable[[], Case]:
    """One CA with two certificates, one of them below a CA that forbids its name: the other way is open."""

    def case() -> Case:
        other, key = ca("other root"), ec.generate_private_key(ec.SECP256R1())
        narrow = ca("narrow", ROOT, only(forbidden=("forbidden.example.com",)))
        closed_by, open_by = (narrow, other) if both_trusted else (other, narrow)
        closed = ca("an-intermediate", closed_by, san("forbidden.example.com"), key=key)
        opened = ca("an-intermediate", open_by, key=key)
        trusted = (ROOT, other) if both_trusted else (ROOT,)
        return Case(True, (ee(closed), closed, opened, narrow), trusted)

    return case


AIA = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.DNSName(HOST))])
NOBODYS = raw("1.3.6.1.4.1.55738.666.1", b"", critical=True)
PRECERTIFICATE = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.4")
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
NET, INSIDE, OUTSIDE, FOO, BAR = "192.0.2.0/24", "192.0.2.1", "192.0.3.1", "foo.example.com", "bar.example.com"
PERMITTED, FORBIDDEN = "permitted.example.com", ("forbidden.example.com",)
AKI, SKI = x509.AuthorityKeyIdentifier, x509.SubjectKeyIdentifier

CASES: dict[str, Callable[[], Case]] = {
    "webpki::san::exact-dns-san": names(True, HOST, HOST),
    "webpki::san::exact-localhost-ip-san": names(True, "127.0.0.1", "127.0.0.1"),
    "webpki::san::mismatch-domain-san": names(False, HOST, "example2.com"),
    "webpki::san::mismatch-subdomain-san": names(False, "abc.example.com", "def.example.com"),
    "webpki::san::mismatch-subdomain-apex-san": names(False, HOST, "abc.example.com"),
    "webpki::san::mismatch-apex-subdomain-san": names(False, "abc.example.com", HOST),
    "webpki::san::public-suffix-wildcard-san": names(False, "*.com", HOST),
    "webpki::san::leftmost-wildcard-san": names(True, "*.example.com", FOO),
    "webpki::san::wildcard-embedded-leftmost-san": names(False, "ba*.example.com", "baz.example.com"),
    "webpki::san::wildcard-not-in-leftmost-san": names(False, "foo.*.example.com", "foo.bar.example.com"),
    "webpki::san::wildcard-match-across-labels-san": names(False, "*.example.com", "foo.bar.example.com"),
    "webpki::san::wildcard-embedded-ulabel-san": names(False, "xn--b*-kva.example.com", "xn--bcher-kva.example.com"),
    "webpki::san::unicode-emoji-san": names(False, "b\u00fccher.example.com", "xn--bcher-kva.example.com"),
    "webpki::san::no-san": leaf(False, drop=(x509.SubjectAlternativeName,)),
    "webpki::san::san-critical-with-nonempty-subject": leaf(False, san(HOST, critical=True), subject=named("something-else")),
    "webpki::eku::ee-anyeku": with_serverauth(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE),
    "webpki::eku::ee-critical-eku": leaf(False, extended(SERVER, critical=True)),
    "webpki::eku::ee-without-eku": leaf(False, drop=(x509.ExtendedKeyUsage,)),
    "webpki::eku::root-has-eku": root(False, extended(SERVER)),
    "webpki::eku::ee-clientauth-only": leaf(False, extended(CLIENT)),
    "webpki::eku::ee-precertificate-only": leaf(False, extended(PRECERTIFICATE)),
    "webpki::eku::ee-precertificate-with-serverauth": with_serverauth(PRECERTIFICATE),
    "webpki::eku::ee-serverauth-with-additional": with_serverauth(CLIENT, good=True),
    "webpki::eku::ee-codesigning-with-serverauth": with_serverauth(ExtendedKeyUsageOID.CODE_SIGNING),
    "webpki::eku::ee-emailprotection-with-serverauth": with_serverauth(ExtendedKeyUsageOID.EMAIL_PROTECTION),
    "webpki::eku::ee-timestamping-with-serverauth": with_serverauth(ExtendedKeyUsageOID.TIME_STAMPING),
    "webpki::eku::ee-ocspsigning-with-serverauth": with_serverauth(ExtendedKeyUsageOID.OCSP_SIGNING),
    "webpki::aki::root-with-aki-missing-keyidentifier": authority_key(identifier=False),
    "webpki::aki::root-with-aki-authoritycertissuer": authority_key(issuer=True),
    "webpki::aki::root-with-aki-authoritycertserialnumber": authority_key(serial=True),
    "webpki::aki::root-with-aki-all-fields": authority_key(issuer=True, serial=True),
    "webpki::aki::root-with-aki-ski-mismatch": authority_key(own=False),
    "webpki::cn::ipv4-hex-mismatch": common_name("0xC0A80101", "192.168.1.1"),
    "webpki::cn::ipv4-leading-zeros-mismatch": common_name("192.168.001.001", "192.168.1.1"),
    "webpki::cn::ipv6-uppercase-mismatch": common_name("2001:DB8::8A2E:370:7334", "2001:db8::8a2e:370:7334"),
    "webpki::cn::ipv6-uncompressed-mismatch": common_name("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
    "webpki::cn::ipv6-non-rfc5952-mismatch": common_name("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    "webpki::cn::punycode-not-in-san": common_name("xn--mnchen-3ya.com", "xn--bcher-kva.com"),
    "webpki::cn::utf8-vs-punycode-mismatch": common_name("b\u00fccher.com", "xn--bcher-kva.com"),
    "webpki::cn::not-in-san": common_name("notinsan.example.com", "valid.example.com", "another.example.com"),
    "webpki::cn::case-mismatch": common_name("Example.COM", HOST),
    "webpki::nc::permitted-dns-match-noncritical": root(True, only(HOST, critical=False)),
    "webpki::nc::intermediate-permitted-excluded-subtrees-both-null": ica(False, only()),
    "webpki::malformed-aia": leaf(False, raw(ExtensionOID.AUTHORITY_INFORMATION_ACCESS, b"malformed")),
    "webpki::ee-basicconstraints-ca": leaf(False, basic(True)),
    "rfc5280::ee-empty-issuer": leaf(False, subject=named("empty-issuer"), issuer=x509.Name([])),
    "rfc5280::ca-empty-subject": root(False, subject=x509.Name([])),
    "rfc5280::unknown-critical-extension-ee": leaf(False, NOBODYS),
    "rfc5280::unknown-critical-extension-root": root(False, NOBODYS),
    "rfc5280::unknown-critical-extension-intermediate": ica(False, NOBODYS, basic(True, 0)),
    "rfc5280::chain-untrusted-root": untrusted_root,
    "rfc5280::intermediate-ca-without-ca-bit": ica(False, basic(False)),
    "rfc5280::intermediate-ca-missing-basic-constraints": not_sent(drop=(x509.BasicConstraints,)),
    "rfc5280::root-missing-basic-constraints": root(False, drop=(x509.BasicConstraints,)),
    "rfc5280::root-non-critical-basic-constraints": root(False, basic(True, critical=False)),
    "rfc5280::root-inconsistent-ca-extensions": root(False, usage()),
    "rfc5280::ica-ku-keycertsign": not_sent(basic(True, 0), usage()),
    "rfc5280::leaf-ku-keycertsign": leaf(False, usage("digital_signature", "key_cert_sign")),
    "rfc5280::ee-aia": leaf(True, (AIA, False)),
    "rfc5280::ee-critical-aia-invalid": leaf(False, (AIA, True)),
    "rfc5280::no-keyusage": leaf(True, drop=(x509.KeyUsage,)),
    "rfc5280::no-basicconstraints": leaf(True, drop=(x509.BasicConstraints,)),
    "rfc5280::ca-as-leaf": ca_as_leaf(True, "ca.example.com"),
    "rfc5280::ca-as-leaf-wrong-san": ca_as_leaf(False, "some-other-ca.example.com"),
    "rfc5280::root-and-intermediate-swapped": swapped,
    "rfc5280::aki::critical-aki": lambda: root(False, (AKI.from_issuer_public_key(ROOT.key.public_key()), True), key=ROOT.key)(),
    "rfc5280::aki::leaf-missing-aki": leaf(False, drop=(AKI,)),
    "rfc5280::aki::intermediate-missing-aki": ica(False, basic(True, 0), drop=(AKI,)),
    "rfc5280::aki::self-signed-root-missing-aki": root(True, drop=(AKI,)),
    "rfc5280::eku::ee-wrong-eku": leaf(False, extended(CLIENT)),
    "rfc5280::eku::ee-without-eku": leaf(True, drop=(x509.ExtendedKeyUsage,)),
    "rfc5280::san::noncritical-with-empty-subject": leaf(False, subject=x509.Name([])),
    "rfc5280::serial::too-long": leaf(False, serial=(1 << 175) + 1),
    "rfc5280::serial::zero": leaf(False, serial=0),
    "rfc5280::ski::critical-ski": root(False, (SKI(b"12345678901234567890"), True)),
    "rfc5280::ski::root-missing-ski": root(False, drop=(SKI,)),
    "rfc5280::ski::intermediate-missing-ski": ica(False, drop=(SKI,)),
    "rfc5280::validity::expired-root": expired(0),
    "rfc5280::validity::expired-intermediate": expired(1),
    "rfc5280::validity::expired-leaf": expired(2),
    "rfc5280::pc::ica-noncritical-pc": ica(False, (x509.PolicyConstraints(3, None), False)),
    "rfc5280::nc::permitted-dns-mismatch": root(False, only(HOST), sans=("not-example.com",)),
    "rfc5280::nc::excluded-dns-match": ica(False, only(forbidden=(HOST,))),
    "rfc5280::nc::permitted-dns-match": root(True, only(HOST)),
    "rfc5280::nc::permitted-dns-match-noncritical": root(False, only(HOST, critical=False)),
    "rfc5280::nc::permitted-dns-match-more": root(True, only(HOST), sans=("foo.bar.example.com",)),
    "rfc5280::nc::excluded-dns-match-second": root(False, only(forbidden=FORBIDDEN), sans=(HOST, *FORBIDDEN)),
    "rfc5280::nc::permitted-ip-mismatch": root(False, only(NET), sans=(OUTSIDE,)),
    "rfc5280::nc::excluded-ipv4-match": root(False, only(forbidden=(NET,)), sans=(INSIDE,)),
    "rfc5280::nc::excluded-ipv6-match": root(False, only(forbidden=("::1/128",)), sans=("::1",)),
    "rfc5280::nc::permitted-ipv4-match": root(True, only(NET), sans=(INSIDE,)),
    "rfc5280::nc::permitted-ipv6-match": root(True, only("::1/128"), sans=("::1",)),
    "rfc5280::nc::permitted-dn-mismatch": directory(False, only("CN=foo"), "not-foo", "CN=not-foo"),
    "rfc5280::nc::excluded-dn-match": directory(False, only(forbidden=("CN=foo",)), "foo", "CN=foo"),
    "rfc5280::nc::permitted-dn-match": directory(True, only("CN=foo"), "foo", "CN=foo"),
    "rfc5280::nc::permitted-dn-match-subject-san-mismatch": directory(False, only("CN=foo"), "not-foo", "CN=foo"),
    "rfc5280::nc::excluded-dn-match-sub-mismatch": directory(False, only(forbidden=("CN=foo",)), "foo", "CN=not-foo"),
    "rfc5280::nc::permitted-self-issued": self_issued,
    "rfc5280::nc::excluded-match-permitted-and-excluded": root(False, only(HOST, forbidden=(HOST,))),
    "rfc5280::nc::permitted-different-constraint-type": root(True, only(NET)),
    "rfc5280::nc::excluded-different-constraint-type": root(True, only(forbidden=(NET,))),
    "rfc5280::nc::invalid-dnsname-wildcard": root(False, only("*.example.com"), sans=(FOO,)),
    "rfc5280::nc::invalid-dnsname-leading-period": root(False, only(".example.com"), sans=(FOO,)),
    "rfc5280::nc::invalid-ipv4-address": root(False, only("127.0.0.1"), sans=("127.0.0.1",)),
    "rfc5280::nc::invalid-ipv6-address": root(False, only("::1"), sans=("::1",)),
    "rfc5280::nc::not-allowed-in-ee-noncritical": leaf(False, only(HOST, critical=False)),
    "rfc5280::nc::not-allowed-in-ee-critical": leaf(False, only(HOST)),
    "rfc5280::nc::intermediate-with-san-rejected-by-intermediate-nc": below(
        False, (only(PERMITTED, forbidden=FORBIDDEN),), (san(*FORBIDDEN),), PERMITTED
    ),
    "rfc5280::nc::restrictive-permits-in-intermediates-narrows": below(False, (only(FOO, BAR),), (only(BAR),), FOO),
    "rfc5280::nc::restrictive-permits-in-intermediates-widens": below(False, (only(BAR),), (only(FOO, BAR),), FOO),
    "rfc5280::nc::nc-permits-invalid-dns-san": ica(False, only(HOST), sans=(FOO, ".example.com")),
    "rfc5280::nc::nc-permits-invalid-ip-san": ica(False, only(NET), sans=(INSIDE, NET)),
    "rfc5280::nc::nc-forbids-alternate-chain-ica": alternate(both_trusted=False),
    "rfc5280::nc::nc-forbids-same-chain-ica": alternate(both_trusted=True),
    "pathlen::ee-with-intermediate-pathlen-0": path(True, 0),
    "pathlen::ee-with-intermediate-pathlen-1": path(True, 1),
    "pathlen::ee-with-intermediate-pathlen-2": path(True, 2),
    "pathlen::intermediate-violates-pathlen-0": path(False, 0, 0),
    "pathlen::intermediate-pathlen-may-increase": path(True, 1, 2),
    "pathlen::intermediate-pathlen-too-long": path(False, 1, 0, 0),
    "pathlen::self-issued-certs-pathlen": path(True, 1, 1, 0, same=1),
    "pathological::multiple-chains-expired-intermediate": expired_cross_sign,
    "pathological::intermediate-cycle-distinct-cas": cycle("one", "two"),
    "pathological::intermediate-cycle-same-logical-ca": cycle("one", "one"),
    "cve::cve-2024-0567": mutual_cross_signs,
    "cve::cve-2025-61727": ica(False, only(HOST, forbidden=(BAR,)), sans=("*.example.com",), host=BAR),
    "cve::cve-2025-61727-nc-permits-variant": ica(False, only(FOO), sans=("*.example.com",), host=FOO),
}
