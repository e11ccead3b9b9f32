"""Nagios Core and Icinga 2, the real ones, run our check by the files of deploy/ and say what they made of it."""

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from probe.sandbox import Sandbox
from tests.serve.serving import ROOT, values
from tests.servers.mail import free_port

DEPLOY = ROOT / "deploy"
PROGRAM = Path(sys.executable).parent / "probe"
WAIT_SECONDS = 60.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's: its folders are 0700, and both drop root."""
    made = Path(tempfile.mkdtemp(prefix="probe-monitor-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@asynccontextmanager
async def running(*command: str, log: Path, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    import os

    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(*command, stdout=stream, stderr=stream, env={**os.environ, **environ})
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()


async def until(file: Path, pattern: str, log: Path) -> re.Match[str]:
    """The match, once the file has one."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                found = re.search(
                    pattern, file.read_text(encoding="utf-8", errors="replace") if file.exists() else "", re.MULTILINE | re.DOTALL
                )
                if found:
                    return found
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"no {pattern} in {file}; {log.read_text(encoding='utf-8', errors='replace')[-2000:]}") from None


def profiles(folder: Path, well: Sandbox, full: Sandbox, soon: Sandbox) -> dict[str, Path]:
    """By the state that a check of it must have."""
    made = {
        "OK": well.profile(),
        "CRITICAL": full.profile(),
        "WARNING": soon.profile().replace('expires_warning = "1h"', 'expires_warning = "300d"'),
    }
    for name, text in made.items():
        (folder / f"{name}.toml").write_text(text)
    return {name: folder / f"{name}.toml" for name in made}


NAGIOS = """
log_file={0}/nagios.log
object_cache_file={0}/objects.cache
precached_object_file={0}/objects.precache
status_file={0}/status.dat
status_update_interval=1
temp_file={0}/nagios.tmp
temp_path={0}
lock_file={0}/nagios.lock
state_retention_file={0}/retention.dat
check_result_path={0}/results
command_file={0}/nagios.cmd
query_socket={0}/nagios.qh
check_external_commands=0
nagios_user=root
nagios_group=root
interval_length=1
service_inter_check_delay_method=n
enable_notifications=0
cfg_file={0}/objects.cfg
"""
TEMPLATES = """
define timeperiod {{
  timeperiod_name always
  alias always
  monday 00:00-24:00
  tuesday 00:00-24:00
  wednesday 00:00-24:00
  thursday 00:00-24:00
  friday 00:00-24:00
  saturday 00:00-24:00
  sunday 00:00-24:00
}}
define contact {{
  contact_name nobody
  host_notification_period always
  service_notification_period always
  host_notification_commands nothing
  service_notification_commands nothing
}}
define command {{
  command_name nothing
  command_line /bin/true
}}
define host {{
  host_name mail.example.com
  address 127.0.0.1
  check_command nothing
  max_check_attempts 1
  contacts nobody
  check_period always
}}
define service {{
  name generic-service
  register 0
  check_period always
  max_check_attempts 1
  contacts nobody
}}
"""


async def test_nagios_core(folder: Path) -> None:
    (folder / "results").mkdir()
    (folder / "nagios.cfg").write_text(NAGIOS.format(folder))
    async with Sandbox() as well, Sandbox(fault="mailbox-full") as full, Sandbox() as soon:
        ours = (DEPLOY / "nagios" / "submission-probe.cfg").read_text().replace("/usr/bin/probe", str(PROGRAM))
        command, _, service = ours.partition("define service")
        objects = TEMPLATES.format() + command
        for name, path in profiles(folder, well, full, soon).items():
            objects += "define service" + service.replace("/etc/submission-probe/profiles/office.toml", str(path)).replace(
                "Mail submission", name
            )
        (folder / "objects.cfg").write_text(objects)
        checked = subprocess.run(["/usr/sbin/nagios4", "-v", str(folder / "nagios.cfg")], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout
        log = folder / "out.log"
        state = {"SUBMISSION_PROBE_STATE": str(folder / "state")}
        async with running("/usr/sbin/nagios4", str(folder / "nagios.cfg"), log=log, **state):
            for code, name in enumerate(("OK", "WARNING", "CRITICAL")):
                pattern = rf"servicestatus {{[^}}]*service_description={name}\n[^}}]*has_been_checked=1\n[^}}]*}}"
                status = (await until(folder / "status.dat", pattern, log))[0]
                assert f"current_state={code}\n" in status, status
                output = re.search(r"plugin_output=(.*)", status)
                perfdata = re.search(r"performance_data=(.*)", status)
                assert output and output[1].startswith(f"SUBMISSION {name} - ") and "|" not in output[1]
                assert perfdata and re.search(r"(^| )total=[\d.]+s", perfdata[1]), status
                assert "certificate_days=" in perfdata[1] and ("delivery=" in perfdata[1]) == (name != "CRITICAL")
                assert re.search(r"long_plugin_output=\n", status)


ICINGA = """
const NodeName = "here"
object CheckerComponent "checker" {{ }}
object PerfdataWriter "perfdata" {{
  host_perfdata_path = "{0}/host"
  service_perfdata_path = "{0}/service"
  host_temp_path = "{0}/host.tmp"
  service_temp_path = "{0}/service.tmp"
  rotation_interval = 1s
  service_format_template = "$service.name$\\t$service.state$\\t$service.output$\\t$service.perfdata$"
}}
object Host "mail" {{
  check_command = "dummy"
  address = "127.0.0.1"
  check_interval = 1h
}}
include <itl>
include "{0}/submission-probe.conf"
"""
SERVICE = """
object Service "{name}" {{
  host_name = "mail"
  check_command = "submission-probe"
  check_interval = 2s
  vars.submission_probe_profile = "{path}"
}}
"""


async def test_icinga(folder: Path) -> None:
    async with Sandbox() as well, Sandbox(fault="mailbox-full") as full, Sandbox() as soon:
        ours = (DEPLOY / "icinga" / "submission-probe.conf").read_text().replace("/usr/bin/probe", str(PROGRAM))
        (folder / "submission-probe.conf").write_text(ours)
        services = [SERVICE.format(name=name, path=path) for name, path in profiles(folder, well, full, soon).items()]
        (folder / "icinga.conf").write_text(ICINGA.format(folder) + "".join(services))
        command, users = _icinga(folder)
        checked = subprocess.run([*command, "-C"], capture_output=True, text=True, env={**_environ(), **users})
        assert checked.returncode == 0, checked.stdout + checked.stderr
        log = folder / "out.log"
        async with running(*command, log=log, **users):
            for name in ("OK", "WARNING", "CRITICAL"):
                file = await told(folder, name, log)
                state, output, perfdata = file
                assert state == name and output.startswith(f"SUBMISSION {name} - ") and "|" not in output
                assert re.search(r"\btotal=[\d.]+s", perfdata) and "certificate_days=" in perfdata


async def test_icinga_kills_a_check_and_its_message_is_accounted_for(folder: Path) -> None:
    """Icinga sends SIGTERM after the command's time-out and SIGKILL soon after: the line and the trace stay."""
    async with Sandbox(fault="never-delivers") as never:
        ours = (DEPLOY / "icinga" / "submission-probe.conf").read_text().replace("/usr/bin/probe", str(PROGRAM))
        (folder / "submission-probe.conf").write_text(ours.replace("timeout = 60s", "timeout = 5s"))
        (folder / "slow.toml").write_text(never.profile())
        (folder / "icinga.conf").write_text(ICINGA.format(folder) + SERVICE.format(name="slow", path=folder / "slow.toml"))
        command, users = _icinga(folder)
        log = folder / "out.log"
        async with running(*command, log=log, **users):
            # Icinga adds a line of its own (<Terminated by signal 9 (Killed).>), at which the format of the file breaks.
            state, output, *_ = await told(folder, "slow", log)
            assert state == "UNKNOWN" and "SUBMISSION UNKNOWN - the run was interrupted after " in output, (state, output)
        environ = {**_environ(), **users}
        swept = await asyncio.to_thread(
            subprocess.run,
            [PROGRAM, "sweep", folder / "slow.toml", "--older-than", "0s"],
            capture_output=True,
            text=True,
            env=environ,
        )
        assert swept.returncode == 1 and "missing submission-probe-" in swept.stdout, swept.stdout + swept.stderr


def _icinga(folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of a daemon that keeps everything in the folder."""
    places = [f"-D{name}Dir={folder}/{name.lower()}" for name in ("Data", "Log", "Cache", "Spool", "InitRun")]
    for place in places:
        Path(place.partition("=")[2]).mkdir()
    users = {"ICINGA2_USER": "root", "ICINGA2_GROUP": "root", "SUBMISSION_PROBE_STATE": str(folder / "state")}
    return ["/usr/sbin/icinga2", "daemon", "-c", str(folder / "icinga.conf"), *places], users


def _environ() -> dict[str, str]:
    import os

    return dict(os.environ)


async def told(folder: Path, name: str, log: Path) -> list[str]:
    """State, output and performance data of the service, once PerfdataWriter has written its file."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            for file in [*folder.glob("service.*"), folder / "service.tmp"]:
                for line in file.read_text(errors="replace").splitlines() if file.exists() else ():
                    if line.startswith(f"{name}\t"):
                        return line.split("\t")[1:]
            await asyncio.sleep(0.2)


async def test_node_exporter_takes_the_textfile(folder: Path) -> None:
    """The textfile collector refuses a whole folder for one file that it cannot parse, and says so in a metric of its own."""
    port = free_port()
    command = [
        "/usr/bin/prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults",
        "--collector.textfile", f"--collector.textfile.directory={folder}",
    ]  # fmt: skip
    async with Sandbox() as well, Sandbox(fault="mailbox-full") as full:
        for name, sandbox in (("well", well), ("full", full)):
            (folder / f"{name}.toml").write_text(sandbox.profile())
            arguments = ["run", str(folder / f"{name}.toml"), "-q", "--report", f"prometheus={folder}/{name}.prom"]
            environ = {**_environ(), "SUBMISSION_PROBE_STATE": str(folder / "state")}
            ran = await asyncio.to_thread(subprocess.run, [PROGRAM, *arguments], capture_output=True, env=environ)
            assert ran.returncode == (2 if name == "full" else 0)
        async with running(*command, log=folder / "out.log"), httpx2.AsyncClient() as client:
            found = values(await _scraped(client, f"http://127.0.0.1:{port}/metrics"))
        assert found["node_textfile_scrape_error"] == {(): 0}
        assert found["submission_probe_success"] == {("well",): 1, ("full",): 0}


async def _scraped(client: httpx2.AsyncClient, url: str) -> str:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                return (await client.get(url)).text
            except httpx2.TransportError:
                await asyncio.sleep(0.1)


CRON = """
mount --bind {0}/cron.d /etc/cron.d
mount --bind {0}/crontab /etc/crontab
mount --bind {0}/spool /var/spool/cron
mount --bind {0}/run /run
mount --bind {0}/sendmail {1}
exec /usr/sbin/cron -f
"""


async def test_cron_mails_what_is_wrong_and_nothing_else(folder: Path) -> None:
    """Debian's cron in a mount namespace of its own: what it hands to sendmail is kept in a file."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("this kernel lets nobody make namespaces")
    async with Sandbox() as well, Sandbox(fault="mailbox-full") as full:
        for name in ("cron.d", "spool", "spool/crontabs", "run", "mails"):
            (folder / name).mkdir()
        (folder / "crontab").touch()
        (folder / "sendmail").write_text(f"#!/bin/sh\nexec cat > {folder}/mails/$$\n")
        (folder / "sendmail").chmod(0o755)
        shipped = (DEPLOY / "cron" / "submission-probe").read_text()
        for name, sandbox in (("well", well), ("full", full)):
            (folder / f"{name}.toml").write_text(sandbox.profile())
            # Every minute, at once; the state beside it. The rest is as shipped.
            text = shipped.replace("*/5 * * * * submission-probe probe run", f"* * * * * root {PROGRAM} run").replace(
                "--jitter 30s", ""
            )
            text = text.replace("/etc/submission-probe/profiles/office.toml", f"{folder}/{name}.toml; touch {folder}/ran-{name}")
            (folder / "cron.d" / name).write_text(f"SUBMISSION_PROBE_STATE={folder}/state\n{text}")
        script = CRON.format(folder, Path("/usr/sbin/sendmail").resolve())
        async with running("unshare", "--mount", "sh", "-ec", script, log=folder / "out.log"):
            async with asyncio.timeout(WAIT_SECONDS + 30):
                while not ((folder / "ran-well").exists() and list((folder / "mails").iterdir())):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        mails = [path.read_text() for path in (folder / "mails").iterdir()]
        assert all("To: postmaster@example.org" in mail and "552" in mail and "smtp.submit" in mail for mail in mails), mails
        assert not any("well" in mail.partition("\n\n")[2] for mail in mails)
