"""What answers over HTTP. starlette routes, uvicorn speaks; every answer says that it is not to be cached, framed or sniffed."""

import asyncio
import base64
import binascii
import math
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from probe.output import Context, output, prometheus
from probe.report import Report
from probe.runs.saved import read
from probe.serve import blackbox, origin, page
from probe.serve.door import peer_of
from probe.serve.keys import Keys
from probe.serve.runner import Busy
from probe.serve.service import Service

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TIMEOUT_HEADER = "X-Prometheus-Scrape-Timeout-Seconds"
# As blackbox_exporter's --timeout-offset: the answer has to arrive before Prometheus hangs up.
OFFSET_SECONDS = 0.5
# Whoever asks without the header, such as a person with curl.
DEFAULT_SECONDS = 120.0
# For kubelet, Docker and load balancers, which know no password: they say one word, and nothing of a profile.
_OPEN = ("/healthz", "/readyz")
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'",
}


def make_app(service: Service) -> ASGIApp:
    """The application."""
    routes = [
        Route("/", _status),
        Route("/metrics", _metrics),
        Route("/probe", _probe),
        Route("/run/{id}", _run),
        Route("/-/healthy", _healthy),
        Route("/-/ready", _ready),
        Route("/healthz", _healthy),
        Route("/readyz", _ready),
        Route("/-/reload", _reload, methods=["POST", "PUT"]),
    ]
    made = Starlette(routes=routes)
    made.state.service = service
    return _Guard(made, service)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _status(request: Request) -> Response:
    service = _service(request)
    text = page.page(service.board, service.targets, service.leftovers(), service.failure, service.queue_failure)
    return HTMLResponse(text, headers={"Content-Security-Policy": page.policy()})


async def _metrics(request: Request) -> Response:
    return PlainTextResponse(_service(request).metrics(), media_type=METRICS_TYPE)


async def _healthy(request: Request) -> Response:
    """Whether a restart would change nothing."""
    if _service(request).board.is_stuck:
        return PlainTextResponse("runs are due, and none ends\n", status_code=503)
    return PlainTextResponse("submission-probe is up\n")


async def _ready(request: Request) -> Response:
    if _service(request).is_ending:
        return PlainTextResponse("submission-probe is ending\n", status_code=503)
    return PlainTextResponse("submission-probe is up\n")


async def _reload(request: Request) -> Response:
    failure = _service(request).reload()
    return PlainTextResponse(f"{failure}\n" if failure else "reloaded\n", status_code=500 if failure else 200)


async def _probe(request: Request) -> Response:
    """One run, now, within the time that the scrape has."""
    service = _service(request)
    name = request.query_params.get("target", "")
    target = service.find(name)
    if target is None:
        return PlainTextResponse("target: no such profile is served here; `/` lists those that are\n", status_code=400)
    seconds = _time(request.headers.get(TIMEOUT_HEADER))
    if seconds is None:
        return PlainTextResponse(f"{TIMEOUT_HEADER}: expected a number of seconds\n", status_code=400)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        reports = await service.runner.run(target, seconds)
    except Busy as error:
        # Not probe_success 0: nothing was found wrong. Prometheus then shows up == 0 for this target.
        return PlainTextResponse(f"{error}\n", status_code=503)
    if request.query_params.get("debug") == "true":
        return PlainTextResponse(_told("text", reports, transcript=True))
    text = blackbox.text(reports, loop.time() - begun) + prometheus.write(reports, Context(started="", seconds=0.0))
    return PlainTextResponse(text, media_type=METRICS_TYPE)


def _time(header: str | None) -> float | None:
    """Seconds for the run; None when the header makes no sense."""
    try:
        seconds = DEFAULT_SECONDS if header is None else float(header)
    except ValueError:
        return None
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    return min(seconds, 3600.0) - min(OFFSET_SECONDS, seconds / 5)


def _told(name: str, reports: Sequence[Report], *, transcript: bool) -> str:
    context = Context(started=reports[0].started, seconds=reports[0].seconds, transcript=transcript)
    return output(name).write(reports, context)


async def _run(request: Request) -> Response:
    """The report of a run that is still kept, as HTML, or as JSON for `Accept: application/json` and `?format=json`."""
    run = _service(request).board.find(request.path_params["id"])
    if run is None:
        return PlainTextResponse("no such run is kept here any more\n", status_code=404)
    text = run.text()
    if request.query_params.get("format") == "json" or request.headers.get("Accept") == "application/json":
        return Response(text + "\n", media_type="application/json")
    saved = read(text, run.id)
    html = await asyncio.to_thread(_told, "html", saved.reports, transcript=True)
    # The page brings a policy of its own, with the hash of its style sheet.
    return HTMLResponse(html, headers={"Content-Security-Policy": "frame-ancestors 'none'"})


def _changes_nothing(path: str) -> bool:
    """A link from a dashboard may lead there."""
    return path in ("/", "/metrics", "/-/healthy", "/-/ready") or path.startswith("/run/")


class _Guard:
    """Around everything: who may come in (basic authentication), and the headers of every answer."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._keys = Keys()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.update(self._service.web.headers)
            await send(message)

        if scope["path"] in _OPEN:
            await self._app(scope, receive, with_headers)
            return
        refusal = self._refusal(Request(scope))
        if refusal is not None:
            await refusal(scope, receive, with_headers)
            return
        if self._service.web.users and not await self._may_enter(Request(scope)):
            refusal = PlainTextResponse("Unauthorized\n", 401, {"WWW-Authenticate": 'Basic realm="submission-probe"'})
            await refusal(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """For whom another page's browser asks."""
        settings, host = self._service.settings, request.headers.get("host", "")
        if not self._service.web.users and not origin.knows(settings.listen, settings.allow_host, host):
            return PlainTextResponse("this name is not answered here; `--allow-host NAME` adds one\n", 421)
        if not _changes_nothing(request.url.path) and origin.is_foreign(request.headers):
            return PlainTextResponse("a page of another origin starts nothing here\n", 403)
        return None

    async def _may_enter(self, request: Request) -> bool:
        kind, _, words = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(words.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        peer = peer_of(request.scope.get("client") or "")
        return await self._keys.fit(self._service.web.users, user, password.encode(), peer)
