"""TCP, TLS, deadlines and size limits: the only room that imports socket and ssl."""

from probe.observe.connection.deadline import Deadline
from probe.observe.connection.dial import Attempt, dial
from probe.observe.connection.handshake import Handshake
from probe.observe.connection.pace import Pace
from probe.observe.connection.proxy import Dialling, Proxy, dial_through
from probe.observe.connection.recorded import Connection
from probe.observe.connection.resolve import Address, Resolution, resolve
from probe.observe.connection.trust import Trust, context_for, new_context, unusable

__all__ = [
    "Address",
    "Attempt",
    "Connection",
    "Deadline",
    "Dialling",
    "Handshake",
    "Pace",
    "Proxy",
    "Resolution",
    "Trust",
    "context_for",
    "dial",
    "dial_through",
    "new_context",
    "resolve",
    "unusable",
]
