"""OpenTelemetry: a run is a trace, a stage a span (extra `otel`).

Spans are made after the run, from its report, with the times the stages had: nothing of the measurement waits for an exporter.
Attributes follow the semantic conventions where those have a name
(https://opentelemetry.io/docs/specs/semconv/attributes-registry/); no server text and no user name is among them. Where to send
is said by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT, …).
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status, StatusCode
from opentelemetry.util.types import AttributeValue

from probe.report import Report, Stage
from probe.version import __version__

FLUSH_MILLISECONDS = 5000


def make_provider(exporter: SpanExporter) -> TracerProvider:
    """A provider of our own: the program that embeds us may have another."""
    provider = TracerProvider(resource=Resource.create({"service.name": "submission-probe", "service.version": __version__}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def export(reports: Iterable[Report], provider: TracerProvider) -> bool:
    """Export the runs; whether they could be handed over within five seconds."""
    tracer = provider.get_tracer("submission-probe", __version__)
    for report in reports:
        _trace(report, tracer)
    return provider.force_flush(FLUSH_MILLISECONDS)


class _Heard(SpanExporter):
    """Remembers whether every batch was taken: `force_flush` says only that it was handed over."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.well = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self.well = self.well and result is SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def export_over_http(reports: Iterable[Report]) -> bool:
    """To the collector that OTEL_EXPORTER_OTLP_ENDPOINT names (by default this machine's); whether it took them."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    # The exporter logs stack traces; one line of ours says it.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = _Heard(OTLPSpanExporter())
    provider = make_provider(exporter)
    flushed = export(reports, provider)
    provider.shutdown()
    return flushed and exporter.well


def _trace(report: Report, tracer: trace.Tracer) -> None:
    begun = _nanoseconds(report.started)
    attributes: dict[str, AttributeValue] = {
        "server.address": report.target.host,
        "server.port": report.target.port,
        "submission_probe.profile": report.profile,
        "submission_probe.verdict": report.verdict,
        "submission_probe.run_id": report.id,
    }
    if report.delivery_seconds is not None:
        attributes["submission_probe.delivery_seconds"] = report.delivery_seconds
    root = tracer.start_span(f"probe {report.profile}", context=Context(), start_time=begun, attributes=attributes)
    within = trace.set_span_in_context(root)
    for stage in report.stages:
        if stage.status != "skipped":
            _span(stage, report, tracer, within, begun)
    root.set_status(_status(report.verdict in ("ok", "warning")))
    root.end(begun + int(report.seconds * 1e9))


def _span(stage: Stage, report: Report, tracer: trace.Tracer, within: Context, begun: int) -> None:
    record = stage.record
    start = begun + int(record.at * 1e9)
    found: Sequence[str] = [finding.id for finding in report.findings if finding.stage == stage.name]
    attributes: dict[str, AttributeValue] = {
        "network.protocol.name": stage.name.partition(".")[0],
        "submission_probe.status": stage.status,
        "submission_probe.findings": found,
    }
    span = tracer.start_span(stage.name, context=within, kind=trace.SpanKind.CLIENT, start_time=start, attributes=attributes)
    span.set_status(_status(stage.status != "failed"))
    span.end(start + int(record.seconds * 1e9))


def _status(well: bool) -> Status:
    return Status(StatusCode.OK if well else StatusCode.ERROR)


def _nanoseconds(started: str) -> int:
    return int(datetime.fromisoformat(started.replace("Z", "+00:00")).timestamp() * 1e9)
