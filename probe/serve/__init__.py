"""`probe serve`: an exporter with a schedule of its own.

Each profile runs every so often, and `/metrics` says what came of it: a scrape never waits for a mail. `/probe?target=PROFILE`
runs one now, for whoever schedules by Prometheus. starlette and uvicorn speak HTTP, prometheus-client writes the metrics; what is
ours is who may run what, and when.
"""
