"""Exception → Trouble: the one table, from special to general.

Order matters: SSLCertVerificationError is also an OSError and a ValueError, and TimeoutError is an OSError, so a
naive order would call an expired certificate a network fault.
"""

import errno
import ssl

from probe.record import Trouble


class Stopped(Exception):
    """A conversation cannot go on; carries the Trouble. Never leaves `observe`."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.text)
        self.trouble = trouble


def stop(finding: str, text: str, evidence: str = "") -> Stopped:
    """Shorthand: the exception for a trouble of that finding id."""
    return Stopped(Trouble(finding, text, evidence))


def trouble_of(error: BaseException, tried: str) -> Trouble:
    """Name what went wrong while doing `tried` (a plain phrase such as "connect to 10.0.0.1 port 587")."""
    if isinstance(error, Stopped):
        return error.trouble
    if isinstance(error, ssl.SSLError):
        return Trouble("tls.handshake-failed", f"{tried}: TLS failed: {_tls_reason(error)}", str(error))
    if isinstance(error, TimeoutError):
        return Trouble("connect.timeout", f"{tried}: no answer in time")
    if isinstance(error, OSError):
        return _of_os_error(error, tried)
    raise error


_BY_ERRNO = {
    errno.ECONNREFUSED: ("connect.refused", "connection refused: nothing listens there, or a firewall rejects it"),
    errno.ETIMEDOUT: ("connect.timeout", "no answer in time: a firewall may drop the packets"),
    errno.EHOSTUNREACH: ("connect.unreachable", "no route to the host"),
    errno.ENETUNREACH: ("connect.unreachable", "network unreachable"),
    errno.ECONNRESET: ("connect.closed", "the connection was reset by the other side"),
    errno.EPIPE: ("connect.closed", "the connection was closed by the other side"),
    errno.ECONNABORTED: ("connect.closed", "the connection was aborted"),
    errno.EADDRNOTAVAIL: ("connect.unreachable", "that address cannot be used from here"),
    errno.EMFILE: ("probe.no-descriptors", "this process has no file descriptors left (ulimit -n)"),
    errno.ENFILE: ("probe.no-descriptors", "this machine has no file descriptors left"),
}


def _of_os_error(error: OSError, tried: str) -> Trouble:
    finding, words = _BY_ERRNO.get(error.errno or 0, ("connect.failed", error.strerror or str(error)))
    return Trouble(finding, f"{tried}: {words}", str(error))


def _tls_reason(error: ssl.SSLError) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error)
