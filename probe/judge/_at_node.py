"""Commands that reach a server, for the node that the run went to: behind one name the others may be well."""

import re
from ipaddress import ip_address

from probe.facts import Connected
from probe.profile import Profile
from probe.record import Record

# What a command dials, by what stands before it; the name stays where TLS wants it.
_OPENSSL = re.compile(r"(?<=s_client -connect )NAME:PORT(?: -servername NAME)?")
_WINDOWS = re.compile(r"(?<=Test-NetConnection )NAME -Port (?:587|PORT)")
_NETCAT = re.compile(r"(?<=nc -vz )NAME (?:587|PORT)")
_OWN_PORT = re.compile(r"(?<=sport = :)587|(?<=allow TCP )587")


def node_of(record: Record, profile: Profile, leg: str) -> tuple[str, int] | None:
    """The address and port that this leg went to, where the profile or `--every-address` chose it; None where DNS did."""
    reader = profile.readers.get(leg)
    chosen = reader.connect if reader else profile.submission.connect
    if not chosen and record.kind != "node":
        return None
    seen = record.seen(f"{leg}.connect", Connected)
    tried = [attempt["address"] for attempt in seen.attempts]
    return _parted(seen.remote or (record.target.address if leg == "smtp" else None) or next(iter(tried), ""))


def _parted(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    try:
        return str(ip_address(host.strip("[]"))), int(port)
    except ValueError:
        return None


def at_node(step: str, node: tuple[str, int] | None) -> str:
    """The step, with what dials NAME dialling the node; as it is where there is none."""
    if node is None:
        return step
    host, port = node
    both = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    step = _OPENSSL.sub(f"{both} -servername NAME", step)
    step = _WINDOWS.sub(f"{host} -Port {port}", step)
    return _OWN_PORT.sub(str(port), _NETCAT.sub(f"{host} {port}", step))
