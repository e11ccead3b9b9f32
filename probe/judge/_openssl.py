"""OpenSSL's refusals, X509_V_ERR_… in x509_vfy.h: which finding says the same in more words, and what to say where none does.

OpenSSL's verdict decides whether a password may be sent, so it is never left out: whatever the code, a finding has its words.
"""

from probe.facts import Certified

NOT_TRUSTED, NAME = "certificate.not-trusted", "certificate.name-mismatch"
# Codes 62 and 64: the host name, the IP address.
_OF_THE_NAME = (62, 64)
# A root that nobody trusts and an intermediate that was not sent have one code: the chain itself has to say which it is.
UNTRUSTED = (2, 18, 19, 20, 21)
_SAY_THE_SAME = {
    **dict.fromkeys(UNTRUSTED, ("certificate.self-signed", "certificate.unknown-issuer", "certificate.missing-intermediate")),
    **dict.fromkeys(_OF_THE_NAME, (NAME,)),
    **dict.fromkeys((24, 26, 32, 37, 39, 79, 80, 82, 92), ("certificate.wrong-usage",)),
    9: ("certificate.not-yet-valid",),
    10: ("certificate.expired", "certificate.intermediate-expired"),
    66: ("certificate.weak-key",),
    67: ("certificate.weak-key",),
    68: ("certificate.weak-signature",),
}
_ANCHOR = "No certificate that the server sends {}, so it is the root that is trusted here (tls.ca_file, or the system's store)."
_CAUSES = {
    9: _ANCHOR.format("lies in the future"),
    10: _ANCHOR.format("has expired"),
    7: "A certificate was not signed by the key it claims: likely a CA of the same name with another key, or a damaged file.",
    22: "The chain is longer than any honest one; likely files were put together that do not belong together.",
    25: "A CA above has issued a CA that it was not allowed to (path length in its basic constraints).",
    27: "The system's store says of a certificate in the chain that it is not to be trusted for servers.",
    28: "The system's store says of a certificate in the chain that it is to be rejected for servers.",
    34: "A certificate has an extension that clients must understand, and do not (marked critical).",
    47: "A CA above may only issue for other names than this one (name constraints).",
    48: "A CA above must not issue for this name (name constraints).",
    94: "The key describes its curve by numbers instead of naming it; clients refuse that.",
}
# What a pin takes the place of: trust in the issuer, and with it the root's own dates.
_OF_THE_ISSUER = (9, 10, 27, 28)


def refusal(facts: Certified) -> str:
    """OpenSSL's code and words, as every finding about a refusal has them."""
    return f"OpenSSL code {facts.openssl_code}: {facts.openssl_text}"


def explains(name: str, code: int) -> bool:
    """Whether a finding of that name says what the code means."""
    return name in _SAY_THE_SAME.get(code, ())


def unexplained(facts: Certified) -> tuple[str, str]:
    """Name and summary of the finding about a refusal that our own reading of the chain does not explain."""
    if facts.openssl_code in _OF_THE_NAME:
        names = ", ".join(facts.subject_names) or "none"
        return NAME, f"OpenSSL does not find {facts.name_checked} among the certificate's names: {names}"
    return NOT_TRUSTED, f"OpenSSL: {facts.openssl_text}"


def likely_cause(code: int | None) -> str | None:
    """Why OpenSSL refuses, where nothing else in the chain explains it; None where its words are all there is to say."""
    return _CAUSES.get(code or 0)


def of_the_issuer(code: int | None) -> bool:
    """Whether an unexplained refusal is about trust in the issuer, and not about what every client would find wrong."""
    return code in _OF_THE_ISSUER
