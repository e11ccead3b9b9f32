"""PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login; what Exchange offers): the password itself, under TLS."""

from probe.sasl import Credentials, Mechanism, Responses, Service


def plain(credentials: Credentials, _: Service) -> Responses:
    # An empty authorization identity: the server takes it from the user (RFC 4616 section 2).
    yield b"\0" + credentials.username.encode() + b"\0" + credentials.secret.encode()


def login(credentials: Credentials, _: Service) -> Responses:
    # Challenges are free text ("Username:", "User Name\0"): their order, not their words, is what counts.
    yield b""
    yield credentials.username.encode()
    yield credentials.secret.encode()


MECHANISMS = {
    "PLAIN": Mechanism("PLAIN", strength=20, initial=True, respond=plain, reveals=True, prompts=True),
    "LOGIN": Mechanism("LOGIN", strength=10, initial=False, respond=login, reveals=True, prompts=True),
}
