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


# What a wait ends in whose time is over, whoever ended it.
_UNANSWERED = ("connect.timeout", "reply.timeout", "delivery.missing", "delivery.fate-unknown", "lease.held")


def is_unanswered(trouble: Trouble) -> bool:
    """Whether nothing is known but that something did not come in time: no fault, where we ended the wait ourselves."""
    return trouble.id in _UNANSWERED or trouble.text.endswith("no answer in time")


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


_REFUSED = ("connect.refused", "connection refused: nothing listens there, or a firewall rejects it")
_NO_ANSWER = ("connect.timeout", "no answer in time: a firewall may drop the packets")
_NO_ROUTE = ("connect.unreachable", "no route to the host")
_NO_NETWORK = ("connect.unreachable", "network unreachable")
_NOT_FROM_HERE = ("connect.unreachable", "that address cannot be used from here")
_RESET = ("connect.closed", "the connection was reset by the other side")
_CLOSED = ("connect.closed", "the connection was closed by the other side")
_ABORTED = ("connect.closed", "the connection was aborted")

_BY_CLASS = {
    ConnectionRefusedError: _REFUSED,
    ConnectionResetError: _RESET,
    ConnectionAbortedError: _ABORTED,
    BrokenPipeError: _CLOSED,
}
# Windows' own numbers, which its event loop raises with an errno that says nothing (EINVAL): Microsoft's "System Error Codes" and
# "Windows Sockets Error Codes".
_BY_WINERROR = {
    64: _RESET,  # ERROR_NETNAME_DELETED
    109: _CLOSED,  # ERROR_BROKEN_PIPE
    121: _NO_ANSWER,  # ERROR_SEM_TIMEOUT
    1225: _REFUSED,  # ERROR_CONNECTION_REFUSED
    1231: _NO_NETWORK,  # ERROR_NETWORK_UNREACHABLE
    1232: _NO_ROUTE,  # ERROR_HOST_UNREACHABLE
    1234: _REFUSED,  # ERROR_PORT_UNREACHABLE
    1236: _ABORTED,  # ERROR_CONNECTION_ABORTED
    1460: _NO_ANSWER,  # ERROR_TIMEOUT
    10024: ("probe.no-descriptors", "this process has no sockets left"),  # WSAEMFILE
    10049: _NOT_FROM_HERE,  # WSAEADDRNOTAVAIL
    10051: _NO_NETWORK,  # WSAENETUNREACH
    10053: _ABORTED,  # WSAECONNABORTED
    10054: _RESET,  # WSAECONNRESET
    10060: _NO_ANSWER,  # WSAETIMEDOUT
    10061: _REFUSED,  # WSAECONNREFUSED
    10065: _NO_ROUTE,  # WSAEHOSTUNREACH
}
_BY_ERRNO = {
    errno.ECONNREFUSED: _REFUSED,
    errno.ETIMEDOUT: _NO_ANSWER,
    errno.EHOSTUNREACH: _NO_ROUTE,
    errno.ENETUNREACH: _NO_NETWORK,
    errno.ECONNRESET: _RESET,
    errno.EPIPE: _CLOSED,
    errno.ECONNABORTED: _ABORTED,
    errno.EADDRNOTAVAIL: _NOT_FROM_HERE,
    errno.EMFILE: ("probe.no-descriptors", "this process has no file descriptors left"),
    errno.ENFILE: ("probe.no-descriptors", "this machine has no file descriptors left"),
}


def _of_os_error(error: OSError, tried: str) -> Trouble:
    known = (
        next((found for kind, found in _BY_CLASS.items() if isinstance(error, kind)), None)
        or _BY_WINERROR.get(getattr(error, "winerror", None) or 0)
        or _BY_ERRNO.get(error.errno or 0)
    )
    finding, words = known or ("connect.failed", error.strerror or str(error))
    return Trouble(finding, f"{tried}: {words}", str(error))


def _tls_reason(error: ssl.SSLError) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error)
