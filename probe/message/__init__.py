"""The marked message: make it, recognise it in any wrapping, read what the way did to it. Pure, and bounded against any mail."""

from probe.message.bounce import Bounce
from probe.message.draft import MARKER_HEADER, MARKER_PATTERN, MARKER_PREFIX, Draft, Sent, compose, new_marker, sign
from probe.message.filling import Filled
from probe.message.parts import MESSAGE_OCTETS, Letter, read
from probe.message.proof import Proof, carries_marker, may_quote, prove, recognise
from probe.message.received import Hop

__all__ = [
    "MARKER_HEADER", "MARKER_PATTERN", "MARKER_PREFIX", "MESSAGE_OCTETS", "Bounce", "Draft", "Filled", "Hop", "Letter", "Proof",
    "Sent", "carries_marker", "compose", "may_quote", "new_marker", "prove", "read", "recognise", "sign",
]  # fmt: skip
