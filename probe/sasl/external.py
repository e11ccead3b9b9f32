"""EXTERNAL (RFC 4422 appendix A): the TLS client certificate says who we are; the response only names the user."""

from probe.sasl import Credentials, Mechanism, Responses, Service


def external(credentials: Credentials, _: Service) -> Responses:
    yield credentials.username.encode()


MECHANISMS = {
    "EXTERNAL": Mechanism("EXTERNAL", 90, initial=True, respond=external, prompts=True, needs=("certificate", "password", "token"))
}
