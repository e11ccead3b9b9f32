"""Nodes behind one name that are not alike (`--every-address`), and addresses that do not answer."""

from collections.abc import Iterator, Mapping
from functools import partial

from probe.facts import Connected
from probe.facts.parts import Nodes
from probe.judge._finding import finding
from probe.profile import Profile
from probe.record import Record, StageRecord
from probe.report import Finding, Kind, Severity

_EXCHANGE = "Exchange: compare Get-ReceiveConnector and Get-ExchangeCertificate -Server NODE | fl Thumbprint,Services on every node"
FINDINGS = {
    "nodes.ehlo-differs": Kind(
        "a node offers other EHLO keywords than the others",
        "Its connector or its version is likely another: users get one or the other by chance.",
        (_EXCHANGE, "Postfix: compare postconf -n and postconf -P on every node"),
    ),
    "nodes.tls-differs": Kind(
        "a node speaks another TLS version than the others",
        "Its operating system or its TLS settings are likely older.",
        ("Compare the SCHANNEL settings (Windows) or the TLS settings of the server on every node",),
    ),
    "nodes.certificate-differs": Kind(
        "a node shows another certificate than the others",
        "The certificate was likely renewed or assigned on some nodes only.",
        (
            _EXCHANGE,
            "Exchange: assign it there too: Enable-ExchangeCertificate -Thumbprint … -Services SMTP,IMAP,POP",
            "Postfix, Dovecot: copy the certificate to that node and reload",
        ),
    ),
    "nodes.chain-differs": Kind(
        "a node sends another chain than the others",
        "An intermediate certificate is likely missing in that node's store or file.",
        ("Install the same intermediate certificates on every node",),
    ),
    "nodes.only-one": Kind(
        "one address only: nothing to compare",
        "There is one node, or the address is a load balancer's, behind which the nodes have addresses of their own.",
        ("To reach each node behind a load balancer: --connect NODE1 --connect NODE2 (or submission.connect in the profile)",),
    ),
    "connect.address-dead": Kind(
        "one of the name's addresses does not answer",
        "A node is down, a firewall drops its packets, or a DNS record is out of date; clients that try it first have to wait.",
        (
            "Check: Test-NetConnection ADDRESS -Port PORT (Windows), or nc -vz ADDRESS PORT",
            "Fix: bring the node back, or take its record out of DNS",
        ),
    ),
}
_finding = partial(finding, FINDINGS)

_DIFFERENCES = {
    "ehlo": ("nodes.ehlo-differs", "smtp.ehlo_tls"),
    "tls": ("nodes.tls-differs", "smtp.starttls"),
    "thumbprint": ("nodes.certificate-differs", "smtp.certificate"),
    "chain": ("nodes.chain-differs", "smtp.certificate"),
}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    for stage in record.stages:
        if stage.name.endswith(".connect") and stage.status == "ok":
            yield from _dead(stage)
    seen = record.seen("smtp.connect", Connected)
    if seen.nodes:
        yield from _differences(seen.nodes)
    elif profile.submission.every_address != "off" and record.kind == "run" and seen.remote:
        yield _finding("nodes.only-one", "info", "smtp.connect", FINDINGS["nodes.only-one"].summary)


def _differences(nodes: Nodes) -> Iterator[Finding]:
    seen: list[Mapping[str, object]] = [*nodes["seen"]]
    here, usual = seen[nodes["this"]], nodes["usual"]
    for key, (name, stage) in _DIFFERENCES.items():
        if here[key] is None or here[key] == usual[key] or (key == "chain" and here["thumbprint"] != usual["thumbprint"]):
            continue
        others = [_name(node) for node in seen if node[key] == usual[key]]
        only, missing = _words(here[key], usual[key]), _words(usual[key], here[key])
        evidence = f"{_name(here)}: {only or 'nothing more'}; {', '.join(others)}: {missing or 'nothing more'}"
        yield _finding(name, "warning", stage, f"{_name(here)}: {FINDINGS[name].summary}", evidence)


def _words(shown: object, against: object) -> str:
    if isinstance(shown, list) and isinstance(against, list):
        return "; ".join(item for item in shown if item not in against)
    return str(shown)


def _name(node: Mapping[str, object]) -> str:
    return f"{node['address']} ({node['node']})" if node["node"] else str(node["address"])


def _dead(stage: StageRecord) -> Iterator[Finding]:
    """Addresses that were tried before the one that answered."""
    for attempt in stage.seen(Connected).attempts:
        if attempt["address"] == stage.seen(Connected).remote or attempt["seconds"] is None:
            continue
        said = attempt["error"] or "no answer before another address had answered"
        severity: Severity = "info" if _is_ours(attempt["address"], said) else "warning"
        yield _finding("connect.address-dead", severity, stage.name, f"{attempt['address']}: {said}", said)


def _is_ours(address: str, said: str) -> bool:
    """No node's fault: without a route it is this machine that has no IPv6; and a loopback name has two addresses, of which a
    server may well listen on one."""
    return "unreachable" in said or "no route" in said or (address.startswith(("127.", "[::1]")) and "refused" in said)
