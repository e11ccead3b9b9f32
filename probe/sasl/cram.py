"""CRAM-MD5 (RFC 2195): the password stays here, its HMAC-MD5 over the server's challenge goes out."""

import hmac

from probe.sasl import ChallengeError, Credentials, Mechanism, Responses, Service


def cram_md5(credentials: Credentials, _: Service) -> Responses:
    challenge = yield b""
    if not challenge:
        raise ChallengeError("CRAM-MD5 needs a challenge, and the server sent an empty one")
    # In lower-case hexadecimal (RFC 2195 section 2): servers compare the text.
    digest = hmac.new(credentials.secret.encode(), challenge, "md5").hexdigest()
    yield credentials.username.encode() + b" " + digest.encode()


MECHANISMS = {"CRAM-MD5": Mechanism("CRAM-MD5", strength=30, initial=False, respond=cram_md5)}
