"""What the way wrote on a delivered message: signatures, the receiving side's results and spam verdicts. Pure, and bounded against
any mail; what is beyond a limit is left out and named."""

from probe.message.evidence.header import Delivered, Field, delivered

__all__ = ["Delivered", "Field", "delivered"]
