"""A link with delay: a TCP proxy that makes each connection as slow as a network with that round-trip time would.

There is no netem everywhere. A client that connects to a server over a real link may write after 1 RTT, and its octets reach the
server at 1.5 RTT; the server's greeting reaches the client at 2 RTT. So the proxy accepts at once, connects on at 1.5 RTT, and
delays each chunk by half an RTT. What a proxy cannot show is how TCP's own ACKs travel.
"""

import asyncio
import threading
from collections.abc import Iterable


class DelayedLink:
    """Proxies in a thread of their own; `rtt` (seconds) may be changed between connections."""

    def __init__(self, ports: Iterable[int]) -> None:
        self.rtt = 0.0
        self.ports: dict[int, int] = {}
        self._wanted = list(ports)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "DelayedLink":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(self._listen())
        self._ready.set()
        self._loop.run_forever()

    async def _listen(self) -> None:
        for port in self._wanted:
            server = await asyncio.start_server(lambda r, w, port=port: self._carry(r, w, port), "127.0.0.1", 0)
            self.ports[port] = server.sockets[0].getsockname()[1]

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        rtt = self.rtt
        await asyncio.sleep(1.5 * rtt)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pump(reader, back, rtt / 2, first=0.0), self._pump(there, writer, rtt / 2))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, first: float | None = None
    ) -> None:
        """Carry octets, each chunk `delay` after it was read, without holding back the chunks behind it."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.ensure_future(self._send(queue, writer))
        try:
            while True:
                data = await reader.read(65536)
                # What the client wrote while the connection was being made has travelled already.
                wait, first = (first, None) if first is not None else (delay, None)
                queue.put_nowait((self._loop.time() + wait, data))
                if not data:
                    break
        except OSError:
            queue.put_nowait((self._loop.time() + delay, b""))
        await sender

    async def _send(self, queue: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        while True:
            when, data = await queue.get()
            await asyncio.sleep(when - self._loop.time())
            try:
                if not data:
                    writer.close()
                    return
                writer.write(data)
                await writer.drain()
            except OSError:
                return
