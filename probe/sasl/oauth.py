"""OAuth 2.0 bearer tokens: OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's and Microsoft's own, older form)."""

from probe.sasl import Credentials, Mechanism, Responses, Service


def oauthbearer(credentials: Credentials, service: Service) -> Responses:
    # `=` and `,` have a meaning in the gs2 header (RFC 5801 section 4); `n`: no channel binding.
    user = credentials.username.replace("=", "=3D").replace(",", "=2C")
    fields = [f"n,a={user},", f"host={service.host}", f"port={service.port}", f"auth=Bearer {credentials.secret}"]
    yield "\x01".join([*fields, "", ""]).encode()
    # RFC 7628 section 3.2.3: the reason is acknowledged by one octet, and then the error proper comes.
    yield b"\x01"


def xoauth2(credentials: Credentials, _: Service) -> Responses:
    yield f"user={credentials.username}\x01auth=Bearer {credentials.secret}\x01\x01".encode()
    # An empty line is the answer to the JSON reason (Google, "OAuth 2.0 Mechanism").
    yield b""


MECHANISMS = {
    "OAUTHBEARER": Mechanism("OAUTHBEARER", 45, initial=True, respond=oauthbearer, needs=("token",), says_why=True, reveals=True),
    "XOAUTH2": Mechanism("XOAUTH2", 40, initial=True, respond=xoauth2, needs=("token",), says_why=True, reveals=True),
}
