"""A link in user space: each IP packet is held back for half a round trip.

`python -m benchmarks.held FD NAME ADDRESS`, in a network namespace of its own, which lives as long as this process does. FD is the
outer end (a TUN device); seconds of a round trip come on standard input, one number a line.

For kernels without `tc netem`. Unlike a proxy it carries the packets of TCP itself: handshakes, ACKs, what Nagle's algorithm and
delayed ACKs do to them.
"""

import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_PACKET_OCTETS = 65_536


def open_tun(name: str) -> int:
    """The descriptor of a new TUN device; the device goes when it is closed. Raises OSError."""
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(end)
        raise
    return end


def raise_device(name: str, address: str) -> None:
    """Give a device its address (with prefix length) and switch it on."""
    subprocess.run(["ip", "address", "add", address, "dev", name], check=True, capture_output=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True, capture_output=True)


def carry(one: int, other: int) -> None:
    """Carry packets both ways until standard input ends."""
    rtt = 0.0
    under_way: dict[int, deque[tuple[float, bytes]]] = {one: deque(), other: deque()}
    beyond = {one: other, other: one}
    while True:
        due = [waiting[0][0] for waiting in under_way.values() if waiting]
        ready, _, _ = select.select([one, other, 0], [], [], max(0.0, min(due) - time.monotonic()) if due else None)
        now = time.monotonic()
        for end in ready:
            if end:
                under_way[beyond[end]].append((now + rtt / 2, os.read(end, _PACKET_OCTETS)))
            elif line := os.read(0, 100):
                rtt = float(line.split()[-1])
            else:
                return
        for end, waiting in under_way.items():
            while waiting and waiting[0][0] <= now:
                os.write(end, waiting.popleft()[1])


def main() -> None:
    outer, name, address = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    inner = open_tun(name)
    raise_device(name, address)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    print("ready", flush=True)
    carry(outer, inner)


if __name__ == "__main__":
    main()
