"""What IMAP4 and POP3 share below their grammars: a line that holds something."""

from probe.observe.connection import Connection

# So many empty ones in a row are passed over.
MOST_BLANK = 3


async def filled_line(connection: Connection, waiting_for: str) -> bytes:
    """The next line that is not empty: a few servers send an empty one behind a greeting, a literal or a message. Empty where
    there are more. Raises Stopped."""
    for _ in range(MOST_BLANK):
        if line := await connection.read_line(waiting_for):
            return line
    return b""
