"""SCRAM (RFC 5802, RFC 7677; SHA-512 is a draft), with channel binding as -PLUS (`tls-server-end-point`, RFC 5929), by scramp."""

from functools import partial

from probe.sasl import ChallengeError, Credentials, Mechanism, Responses, Service

# RFC 5802 section 9: a hostile server asks for no end of iterations; usual are 4096, the least of RFC 7677 section 4.
# A server may ask for work; this much takes a good part of a second, and no server in the field asks for as much.
MOST_ITERATIONS = 1_000_000
# RFC 5802 section 7, server-error-value: these are about name and password; most others are about channel binding and encodings.
_REFUSALS = {
    "invalid-proof": "auth.refused",
    "unknown-user": "auth.refused",
    "invalid-username-encoding": "auth.refused",
    "other-error": "auth.refused",
    "no-resources": "auth.temporary",
}


def scram(credentials: Credentials, service: Service, *, name: str) -> Responses:
    from scramp import ScramClient, ScramException

    # Not tls-unique, which TLS 1.3 has not, nor tls-exporter (RFC 9266), for which Python's ssl has no function.
    binding = ("tls-server-end-point", service.binding) if name.endswith("-PLUS") else None
    try:
        client = ScramClient([name], credentials.username, credentials.secret, channel_binding=binding, c_nonce=service.nonce)
        first = (yield client.get_client_first().encode()).decode("utf-8", "replace")
        _refuse_endless(first)
        client.set_server_first(first)
        final = (yield client.get_client_final().encode()).decode("utf-8", "replace")
        if final.startswith("e="):
            raise ChallengeError(
                f"{name}: the server refuses: {final[2:]}", _REFUSALS.get(final[2:].strip(), "auth.mechanism-failed")
            )
        client.set_server_final(final)
    except ScramException as error:
        finding = "auth.server-unproven" if "signature" in str(error).lower() else "auth.exchange-failed"
        raise ChallengeError(f"{name}: {error}", finding) from None
    yield b""


def _refuse_endless(server_first: str) -> None:
    asked = next((item[2:] for item in server_first.split(",") if item.startswith("i=")), "0")
    if not asked.isdigit() or len(asked) > 9 or int(asked) > MOST_ITERATIONS:
        raise ChallengeError(f"SCRAM: the server asks for {asked} iterations; at most {MOST_ITERATIONS} are done")


def _asks(server_first: bytes, *, name: str) -> dict[str, str | int]:
    """The hash, how many iterations, and how long the salt is (RFC 5802 section 5.1)."""
    fields = dict(part.split(b"=", 1) for part in server_first.split(b",") if b"=" in part)
    asked: dict[str, str | int] = {"hash": name.removeprefix("SCRAM-").removesuffix("-PLUS")}
    if fields.get(b"i", b"").isdigit() and len(fields[b"i"]) <= 9:
        asked["iterations"] = int(fields[b"i"])
    if b"s" in fields:
        asked["salt_octets"] = len(fields[b"s"].rstrip(b"=")) * 3 // 4
    return asked


def _mechanism(name: str, strength: int) -> Mechanism:
    respond = partial(scram, name=name)
    asks = partial(_asks, name=name)
    # Slow for its iterations only, but those are the server's choice.
    return Mechanism(name, strength, initial=True, respond=respond, slow=True, binds=name.endswith("-PLUS"), proof=2, asks=asks)


MECHANISMS = {
    # Only when named: Cyrus and mailutils list them and cancel, and Dovecot 2.4.1 crashes at them.
    "SCRAM-SHA-512-PLUS": _mechanism("SCRAM-SHA-512-PLUS", 0),
    "SCRAM-SHA-256-PLUS": _mechanism("SCRAM-SHA-256-PLUS", 0),
    "SCRAM-SHA-1-PLUS": _mechanism("SCRAM-SHA-1-PLUS", 0),
    "SCRAM-SHA-512": _mechanism("SCRAM-SHA-512", 65),
    "SCRAM-SHA-256": _mechanism("SCRAM-SHA-256", 60),
    "SCRAM-SHA-1": _mechanism("SCRAM-SHA-1", 50),
}
