"""The recorded connection: TCP, TLS, deadline, size limits, verbatim transcript and certificate evidence.

One type serves all three protocols. It reads from the socket only when somebody wants octets, so a server can never
push more into memory than the limits allow, and it can say which octets arrived that nobody had asked for.
TLS runs over memory buffers: asyncio's own TLS transport holds about 300 KiB a connection and gives no certificate
after a failed verification.
"""

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import Iterator

from probe.observe.connection.deadline import Deadline
from probe.observe.connection.handshake import Handshake, seen_in
from probe.observe.connection.pace import Pace
from probe.observe.connection.reading import Reading
from probe.observe.connection.resolve import Address
from probe.observe.connection.trust import Trust, context_for
from probe.observe.journal import QUOTED, Journal
from probe.observe.trouble import Stopped, stop

# Far above what any line needs: SASL's longest have 12288 octets (RFC 4954 section 4).
LINE_OCTETS = 65_536
REPLY_OCTETS = 4 * 1024 * 1024
READ_OCTETS = 65_536
GOODBYE_SECONDS = 1.0
_NO_COMMON_VERSION = ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE")
# Alerts that speak of a certificate we sent, or should have sent: ours, since verifying the server's is our own work.
_OF_OUR_CERTIFICATE = (
    "CERTIFICATE_REQUIRED", "ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE", "ALERT_UNSUPPORTED_CERT"
)  # fmt: skip
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
# linux/tcp.h: tcpi_min_rtt, microseconds, since Linux 4.6.
_MIN_RTT = slice(148, 152)


class Connection:
    """One TCP connection, recorded. Made by `dial` and `Connection(...)`; always `close()` it."""

    def __init__(
        self,
        sock: socket.socket,
        address: Address,
        *,
        name: str,
        journal: Journal,
        deadline: Deadline,
        until: float,
        pace: Pace,
    ) -> None:
        self.name = name
        self.address = address
        self.local = _endpoint(sock.getsockname())
        self.own_literal = address_literal(str(sock.getsockname()[0]))
        self.handshake: Handshake | None = None
        self.octets_received = 0
        self._sock = sock
        self._journal = journal
        self._deadline = deadline
        self._until = until
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._reading = Reading(self._loop, sock)
        self._buffer = bytearray()
        self._searched = 0
        self._hidden: bytes | None = None
        self._ended = False
        self._tls_failed = False
        # The TLS alert by which the other side ended the connection.
        self._alert: ssl.SSLError | None = None
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    @property
    def is_tls(self) -> bool:
        """Whether a handshake was completed on this connection."""
        return self._tls is not None

    @property
    def round_trip(self) -> float | None:
        """Seconds of the shortest round trip that the kernel has measured on this connection (Linux); None where it has none."""
        if _TCP_INFO is None:
            return None
        with contextlib.suppress(OSError):
            info = self._sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _MIN_RTT.stop)
            if len(info) == _MIN_RTT.stop:
                return int.from_bytes(info[_MIN_RTT], sys.byteorder) / 1e6
        return None

    def limit(self, until: float) -> None:
        """Move this connection's own limit to another instant of the loop's clock (the run's deadline still holds)."""
        self._until = until

    def hurry(self) -> None:
        """From now on wait no longer than a good-bye is worth."""
        self._until = min(self._until, self._loop.time() + GOODBYE_SECONDS)

    # -- reading ---------------------------------------------------------------------------------------------

    async def read_line(self, waiting_for: str, *, recorded: bool = True) -> bytes:
        """The next line without its line end, recorded verbatim unless it is part of a message (other people's mail
        has no place in a transcript).

        Raises Stopped: `reply.timeout`, `connect.closed` or `protocol.too-long`.
        """
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if len(self._buffer) > LINE_OCTETS:
                self.note(f"line cut after {LINE_OCTETS} octets", self.brief(bytes(self._buffer)))
                raise stop("protocol.too-long", f"{waiting_for}: a line of more than {LINE_OCTETS} octets came")
            await self._fill(waiting_for)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        # RFC 5321 section 2.3.8 wants CRLF; behind a bare LF a server is heard rather than waited for.
        line = line.removesuffix(b"\r")
        if recorded:
            self._journal.line(self.name, "<", self.shown(line))
        return line

    @contextlib.contextmanager
    def hiding(self, prefix: bytes) -> Iterator[None]:
        """Within this block, of a line that begins with `prefix` (a SASL challenge) only the length is recorded.

        A challenge beside its response is all it takes to try passwords offline (RFC 5802 section 9), whichever side leaks.
        """
        self._hidden = prefix
        try:
            yield
        finally:
            self._hidden = None

    def shown(self, octets: bytes) -> str:
        """Received octets as the transcript and findings may have them."""
        if self._hidden is None or not octets.startswith(self._hidden):
            return _text(octets)
        rest = len(octets) - len(self._hidden)
        return _text(self._hidden) + (f" [{rest} octets hidden]" if rest else "")

    async def read_exactly(self, octets: int, waiting_for: str) -> bytes:
        """That many octets (an IMAP literal), noted in the transcript by their number only."""
        while len(self._buffer) < octets:
            await self._fill(waiting_for)
        data = bytes(self._buffer[:octets])
        del self._buffer[:octets]
        self._searched = 0
        self.note(f"literal of {octets} octets received")
        return data

    async def _fill(self, waiting_for: str) -> None:
        try:
            async with self._deadline.limit(self._until):
                data = await self._receive()
                # Kept before the turn is waited for: a time-out there must not lose it.
                self._buffer += data
                await self._pace.turn()
        except TimeoutError:
            raise stop("reply.timeout", f"{waiting_for}: no complete answer from {self.address} in time") from None
        except OSError as error:
            raise self._broken(waiting_for, error) from None
        if not data:
            self._ended = True
            rest = f" in mid-line after {self.brief(bytes(self._buffer))!r}" if self._buffer else ""
            raise stop("connect.closed", f"{waiting_for}: {self.address} closed the connection{rest}")

    def _broken(self, tried: str, error: OSError) -> Stopped:
        """In TLS 1.3 our handshake is over before the server looks at our certificate: its alert comes behind it, and is read
        first where we were about to send."""
        self.unread()
        alert = self._alert or (error if isinstance(error, ssl.SSLError) else None)
        if alert is None:
            return stop("connect.closed", f"{tried}: connection lost: {error.strerror or error}", str(error))
        finding = "tls.client-certificate-refused" if _of_our_certificate(alert) else "connect.closed"
        return stop(finding, f"{tried}: TLS broke: {_words(alert)}", str(alert))

    async def _receive(self) -> bytes:
        """Some octets, decrypted when TLS is on; empty at the peer's end."""
        while True:
            if self._tls is not None:
                with contextlib.suppress(ssl.SSLWantReadError):
                    return self._decrypted(self._tls)
            raw = await self._reading.read(READ_OCTETS)
            self.octets_received += len(raw)
            if self._tls is None:
                return raw
            if raw:
                self._incoming.write(raw)
            else:
                self._incoming.write_eof()

    @staticmethod
    def _decrypted(tls: ssl.SSLObject) -> bytes:
        try:
            return tls.read(READ_OCTETS)
        # Without a close_notify too (RFC 8446 section 6.1): many servers just close, and OpenSSL 3 calls that an error.
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def unread(self) -> bytes:
        """Octets that have arrived but that nobody asked for, without waiting. They stay unread."""
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, OSError):
            raw = self._reading.arrived(READ_OCTETS)
            self.octets_received += len(raw)
            if self._tls is None:
                self._buffer += raw
            elif raw:
                self._incoming.write(raw)
        if self._tls is not None:
            try:
                self._buffer += self._tls.read(READ_OCTETS)
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
                pass
            except ssl.SSLError as error:
                self._alert = self._alert or error
        return bytes(self._buffer)

    # -- writing ---------------------------------------------------------------------------------------------

    async def write(self, data: bytes, *, shown: str | None = None, recorded: bool = True) -> None:
        """Send octets. The transcript has `shown` instead where they carry a secret or a message, nothing where not `recorded`.

        Raises Stopped: `connect.closed` or `reply.timeout`.
        """
        if self._tls_failed:
            # Nothing may follow in clear on a connection whose handshake was refused.
            raise stop("connect.closed", f"send to {self.address}: the TLS handshake was refused")
        lines = (_text(data) if shown is None else shown).removesuffix("\r\n").split("\r\n") if recorded else ()
        for text in lines:
            self._journal.line(self.name, ">", text)
        try:
            async with self._deadline.limit(self._until):
                await self._send(data)
        except TimeoutError:
            raise stop("reply.timeout", f"send to {self.address}: the server takes no more octets") from None
        except OSError as error:
            raise self._broken(f"send to {self.address}", error) from None

    async def _send(self, data: bytes) -> None:
        if self._tls is None:
            await self._loop.sock_sendall(self._sock, data)
        else:
            self._tls.write(data)
            await self._flush()
        self._acknowledge_at_once()

    def _acknowledge_at_once(self) -> None:
        """Ask the kernel not to delay its next ACK. A server that has two small writes under way (Postfix: session tickets,
        then the EHLO reply) waits for the first one's ACK, which Linux would otherwise delay by 40 ms."""
        if _QUICK_ACK is not None:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._loop.sock_sendall(self._sock, self._outgoing.read())

    async def exchange(self, octets: bytes, tried: str, *, wait: bool = True) -> bytes:
        """Send these octets as they are and return the next that arrive, empty at the peer's end: for a handshake that is made
        elsewhere (`imitated`). With `wait` False nothing is read, and it is no error where they cannot be sent any more.

        Raises Stopped: `reply.timeout` or `connect.closed`.
        """
        try:
            async with self._deadline.limit(self._until):
                if octets:
                    await self._loop.sock_sendall(self._sock, octets)
                received = await self._reading.read(READ_OCTETS) if wait else b""
        except (TimeoutError, OSError) as error:
            if not wait:
                return b""
            if isinstance(error, TimeoutError):
                raise stop("reply.timeout", f"{tried}: no answer from {self.address} in time") from None
            raise self._broken(tried, error) from None
        self.octets_received += len(received)
        return received

    # -- TLS -------------------------------------------------------------------------------------------------

    async def start_tls(self, trust: Trust, server_name: str) -> Handshake:
        """Do the handshake. A failed verification is not an error here: it is in the Handshake, with the chain.

        Raises Stopped: `tls.handshake-failed`, `connect.closed`. Octets that lie in the buffer are refused before,
        by the caller, who knows which reply they stand behind (`unread`).
        """
        tls = context_for(trust).wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        error: ssl.SSLCertVerificationError | None = None
        try:
            async with self._deadline.limit(self._until):
                await self._shake_hands(tls)
        except ssl.SSLCertVerificationError as caught:
            error = caught
            await self._try_flush()
        except TimeoutError:
            raise stop("tls.handshake-failed", f"TLS handshake with {self.address}: no answer in time") from None
        except OSError as caught:
            await self._try_flush()
            raise self._handshake_trouble(caught) from None
        self._tls_failed = error is not None
        self._tls = tls if error is None else None
        self.handshake = seen_in(tls, server_name, trust, error)
        return self.handshake

    async def _shake_hands(self, tls: ssl.SSLObject) -> None:
        while True:
            try:
                tls.do_handshake()
                await self._flush()
                return
            except ssl.SSLWantReadError:
                await self._flush()
            raw = await self._reading.read(READ_OCTETS)
            await self._pace.turn()
            self.octets_received += len(raw)
            if raw:
                self._incoming.write(raw)
            else:
                self._incoming.write_eof()

    async def _try_flush(self) -> None:
        """Send the alert that says why to the server, if it can still be sent."""
        with contextlib.suppress(OSError, TimeoutError):
            async with self._deadline.limit(self._loop.time() + GOODBYE_SECONDS):
                await self._flush()

    def _handshake_trouble(self, error: OSError) -> Exception:
        tried = f"TLS handshake with {self.address}"
        if isinstance(error, ssl.SSLEOFError):
            # Windows (Schannel) may close without an alert where no cipher suite is shared (event 36874).
            return stop("tls.handshake-failed", f"{tried}: the server closed the connection", str(error))
        if isinstance(error, ssl.SSLError):
            if _of_our_certificate(error):
                return stop("tls.client-certificate-refused", f"{tried}: {_words(error)}", str(error))
            # What OpenSSL says when the other side's versions are all below the profile's, or all above what it knows.
            finding = "tls.version" if error.reason in _NO_COMMON_VERSION else "tls.handshake-failed"
            return stop(finding, f"{tried}: {_words(error)}", str(error))
        return stop("tls.handshake-failed", f"{tried}: connection lost: {error.strerror}", str(error))

    # -- the end ---------------------------------------------------------------------------------------------

    def note(self, text: str, heard: str = "") -> None:
        """A remark in the transcript, not a line of either side; `heard` is what it quotes of the other side."""
        self._journal.note(self.name, text, heard)

    def brief(self, octets: bytes) -> str:
        """Received octets for the midst of a sentence: without secrets, then cut."""
        return self._journal.brief(self.shown(octets), QUOTED)

    async def close(self) -> None:
        """Close without waiting for the peer. Safe to call twice."""
        if self._sock.fileno() < 0:
            return
        if self._tls is not None and not self._ended:
            with contextlib.suppress(OSError, TimeoutError, ValueError):
                with contextlib.suppress(ssl.SSLError):
                    # Our close_notify; RFC 8446 section 6.1 has nobody wait for the peer's.
                    self._tls.unwrap()
                self._sock.send(self._outgoing.read())
        try:
            await self._reading.end()
        finally:
            self._sock.close()


def _of_our_certificate(error: ssl.SSLError) -> bool:
    return any(words in (error.reason or "") for words in _OF_OUR_CERTIFICATE)


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


def address_literal(ip: str) -> str:
    """An address as EHLO gives it where there is no name: `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3)."""
    ip = ip.partition("%")[0]  # the zone of a link-local address means something on this machine only (RFC 4007)
    return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"


def _endpoint(name: tuple[object, ...]) -> str:
    return f"[{name[0]}]:{name[1]}" if ":" in str(name[0]) else f"{name[0]}:{name[1]}"


def _text(data: bytes) -> str:
    """Octets as text that shows what is not UTF-8 as \\xNN."""
    return data.decode("utf-8", "backslashreplace")
