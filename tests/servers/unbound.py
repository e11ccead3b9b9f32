"""Unbound twice, on high ports of loopback: one serves a zone, signed or not, one asks it and validates by the zone's key."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from tests.servers.mail import free_port

UNBOUND = shutil.which("unbound", path="/usr/sbin:/usr/bin")
_SECURE_ENTRY_POINT = 257
_SERVER = """
server:
  interface: {host}@{port}
  do-daemonize: no
  chroot: ''
  username: ''
  pidfile: ''
  use-syslog: no
  verbosity: 1
  directory: '{folder}'
  do-not-query-localhost: no
  local-zone: '{zone}' nodefault
"""
_SERVES = """
auth-zone:
  name: '{zone}'
  zonefile: 'zone'
  for-downstream: yes
  for-upstream: no
remote-control:
  control-enable: no
"""
_VALIDATES = """
  module-config: 'validator iterator'
  {anchor}
stub-zone:
  name: '{zone}'
  stub-addr: 127.0.0.1@{upstream}
remote-control:
  control-enable: no
"""


def zone(name: str, records: Mapping[str, str]) -> dns.zone.Zone:
    """A zone of this absolute name; `records`: `NAME TYPE` (relative) to data."""
    lines = ["@ 300 IN SOA ns hostmaster 1 3600 600 86400 300\n@ 300 IN NS ns\nns 300 IN A 127.0.0.1"]
    lines += ["{} 300 IN {} {}".format(*key.split(), value) for key, value in records.items()]
    return dns.zone.from_text("\n".join(lines), origin=name, relativize=False)


def signed(made: dns.zone.Zone) -> str:
    """Sign the zone in place (NSEC, ECDSA); returns the DNSKEY record to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    dnskey = dns.dnssec.make_dnskey(key.public_key(), "ECDSAP256SHA256", flags=_SECURE_ENTRY_POINT)
    dns.dnssec.sign_zone(made, keys=[(key, dnskey)], lifetime=86400)
    return f"{made.origin} IN DNSKEY {dnskey}"


@contextlib.contextmanager
def resolving(folder: Path, served: dns.zone.Zone, anchor: str = "") -> Iterator[str]:
    """A validating resolver for the zone; yields HOST:PORT. `anchor`: the DNSKEY to trust; without one nothing is validated."""
    upstream, port, name = free_port(), free_port(), str(served.origin)
    trust = f"trust-anchor: '{anchor}'" if anchor else ""
    served.to_file(str(folder / "zone"), relativize=False)
    with (
        _running(folder, upstream, name, _SERVES.format(zone=name)),
        _running(folder, port, name, _VALIDATES.format(zone=name, anchor=trust, upstream=upstream)),
    ):
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def serving(folder: Path, served: dns.zone.Zone, host: str = "127.0.0.1", port: int | None = None) -> Iterator[str]:
    """A name server for the zone, which knows no other name and asks nobody; yields HOST:PORT."""
    port = port or free_port()
    served.to_file(str(folder / "zone"), relativize=False)
    with _running(folder, port, str(served.origin), (_ONLY + _SERVES).format(zone=served.origin), host):
        yield f"{host}:{port}"


# Of the server clause, which stands before.
_ONLY = "  local-zone: '.' static\n  local-zone: '{zone}' transparent\n"


@contextlib.contextmanager
def _running(folder: Path, port: int, name: str, settings: str, host: str = "127.0.0.1") -> Iterator[None]:
    path = folder / f"unbound-{port}.conf"
    path.write_text(_SERVER.format(port=port, folder=folder, zone=name, host=host) + settings)
    process: subprocess.Popen[Any] = subprocess.Popen(
        [str(UNBOUND), "-d", "-c", str(path)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stderr is not None
        began, said = time.monotonic(), ""
        while "start of service" not in said:
            line = process.stderr.readline()
            said += line
            assert line and time.monotonic() - began < 20, said
        yield
    finally:
        process.terminate()
        process.communicate()
