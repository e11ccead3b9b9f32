"""The metrics of blackbox_exporter, for the dashboards and alerts that exist.

Names and meanings: https://github.com/prometheus/blackbox_exporter (prober/tcp.go, prober/tls.go). Ours stand beside them.
"""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from probe.facts import Certified, Connected, Resolved, Secured, instant
from probe.report import Report

# Where the certificate that users meet first is judged.
_TLS_STAGES = ("smtp.starttls", "imap.tls", "pop3.tls")
_CERTIFICATES = ("smtp.certificate", "imap.certificate", "pop3.certificate")


class _Families(Collector):
    def __init__(self, reports: Sequence[Report], seconds: float) -> None:
        self._reports, self._seconds = reports, seconds

    def collect(self) -> Iterator[GaugeMetricFamily]:
        report = self._reports[0]
        success = all(one.verdict in ("ok", "warning") for one in self._reports)
        yield _gauge("probe_success", "Displays whether or not the probe was a success", float(success))
        yield _gauge("probe_duration_seconds", "Returns how long the probe took to complete in seconds", self._seconds)
        looked_up = next((stage.record.seconds for stage in report.stages if stage.name == "smtp.resolve"), 0.0)
        yield _gauge("probe_dns_lookup_time_seconds", "Returns the time taken for probe dns lookup in seconds", looked_up)
        yield _gauge("probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6", _protocol(report))
        yield from _tls([report.seen(name, Secured) for name in _TLS_STAGES])
        yield from _certificates([seen for name in _CERTIFICATES if (seen := report.seen(name, Certified)).chain])


def text(reports: Sequence[Report], seconds: float) -> str:
    """Text format 0.0.4. `reports` is not empty: one run, or one of each node; `seconds` is what the answer took."""
    registry = CollectorRegistry()
    registry.register(_Families(reports, seconds))
    return generate_latest(registry).decode()


def _protocol(report: Report) -> float:
    """4 or 6, by the address that answered, else by the first that was dialled or found; 0 where there was none, as there."""
    dialled = [attempt["address"] for attempt in report.seen("smtp.connect", Connected).attempts]
    found = [report.target.address, *dialled, *report.seen("smtp.resolve", Resolved).addresses]
    first = next((address for address in found if address), None)
    if first is None:
        return 0.0
    return 6.0 if first.startswith("[") or first.count(":") > 1 else 4.0


def _gauge(name: str, help: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help, value=value)


def _tls(seen: Sequence[Secured]) -> Iterator[GaugeMetricFamily]:
    used = next((one for one in seen if one.version), None)
    if used is None:
        return
    info = GaugeMetricFamily("probe_tls_version_info", "Returns the TLS version used or NaN when unknown", labels=["version"])
    # blackbox_exporter, being Go, writes "TLS 1.3".
    info.add_metric([str(used.version).replace("TLSv", "TLS ")], 1.0)
    yield info
    cipher = GaugeMetricFamily("probe_tls_cipher_info", "Returns the TLS cipher negotiated during handshake", labels=["cipher"])
    cipher.add_metric([str(used.cipher)], 1.0)
    yield cipher


def _certificates(seen: Sequence[Certified]) -> Iterator[GaugeMetricFamily]:
    """Of all chains that were shown, the earliest end; of the submission's, the leaf."""
    if not seen:
        return
    ends = [end for one in seen for link in one.chain if (end := instant(link.get("not_after"))) is not None]
    if ends:
        said = "Returns last SSL chain expiry in unixtime"
        yield _gauge("probe_ssl_earliest_cert_expiry", "Returns earliest SSL cert expiry in unixtime", min(ends))
        first = [end for link in seen[0].chain if (end := instant(link.get("not_after"))) is not None]
        if seen[0].trusted and first:
            yield _gauge("probe_ssl_last_chain_expiry_timestamp_seconds", said, min(first))
    labels = ["fingerprint_sha256", "subject", "issuer", "subjectalternative"]
    info = GaugeMetricFamily("probe_ssl_last_chain_info", "Contains SSL leaf certificate information", labels=labels)
    leaf = seen[0].chain[0]
    names = ",".join(map(str, leaf.get("dns_names") or ()))
    info.add_metric([str(leaf.get("sha256", "")).lower(), str(leaf.get("subject")), str(leaf.get("issuer")), names], 1.0)
    yield info
