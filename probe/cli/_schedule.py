"""What runs a profile again and again: a crontab line, systemd units, an Icinga CheckCommand. Text only; nothing is installed."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from probe.plain import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """A profile to run: `program` is how probe is called, `profile` its path, `name` the profile's own."""

    program: tuple[str, ...]
    profile: Path
    name: str
    password_env: str | None
    password_file: Path | None

    @property
    def unit(self) -> str:
        """The name of its systemd units, in the characters that those may have."""
        return "submission-probe-" + re.sub(r"[^A-Za-z0-9_.-]", "-", self.name)


def crontab(job: Job) -> str:
    """Every five minutes. cron mails what is printed: `-q` prints only what is wrong."""
    # cron makes a line break of a percent sign.
    command = shlex.join((*job.program, "run", "-q", str(job.profile))).replace("%", "\\%")
    lines = [
        f"# {job.name}: cron mails what is wrong (set MAILTO), and nothing else. Several machines: give each minutes of its own."
    ]
    if job.password_env:
        lines.append(
            f"# cron knows no {job.password_env}: set it in the crontab above this line, or use a password file (mode 600)."
        )
    return "".join(f"{line}\n" for line in (*lines, f"*/5 * * * * {command}"))


# As in deploy/systemd/submission-probe@.service; homes can be read, since the profile may lie in one.
_HARDENING = """\
UMask=0077
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
DevicePolicy=closed
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
MemoryMax=256M
"""


def service(job: Job) -> str:
    """A oneshot unit with a user of its own. The password is a credential: not in the environment, for this unit alone."""
    source = job.password_file or Path(f"/etc/submission-probe/{job.unit}.password")
    words = [*(_word(word) for word in (*job.program, "run", "-q")), "--password-file", "%d/password", _word(str(job.profile))]
    return f"""# {job.unit}.service, written by `probe init`. Where to put it: /etc/systemd/system/
# The unit runs as a user of its own: program and profile must be readable by everybody (a profile holds no secret).
[Unit]
Description=Prove that users can submit mail: {_plain(job.name)}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
# The password in its first line; root's, mode 600.
LoadCredential=password:{_path(source)}
ExecStart={" ".join(words)}
# 1 is a warning: it is in the journal, and no failure of the unit. 2 (critical) and 3 (unknown) are.
SuccessExitStatus=1
TimeoutStartSec=5min
DynamicUser=yes
StateDirectory=submission-probe
Environment=SUBMISSION_PROBE_STATE=%S/submission-probe
{_HARDENING}"""


def timer(job: Job) -> str:
    """Every five minutes, spread, so that many machines do not knock in the same second."""
    return f"""# {job.unit}.timer; then: systemctl daemon-reload; systemctl enable --now {job.unit}.timer
[Unit]
Description=Every five minutes: {_plain(job.name)}

[Timer]
OnCalendar=*:0/5
RandomizedDelaySec=60
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def icinga(job: Job) -> str:
    """A CheckCommand (Icinga 2 DSL), with a service to copy."""
    password = str(job.password_file or "/etc/icinga2/submission-probe.password")
    program = ", ".join(_dsl(word) for word in (*job.program, "run", "-o", "nagios"))
    return f"""// Written by `probe init`. Where to put it: /etc/icinga2/conf.d/ or a zone; then: icinga2 daemon -C
// The password file must be readable by the user that Icinga runs as, and by nobody else.
object CheckCommand "submission-probe" {{
  command = [ {program} ]
  arguments = {{
    "--password-file" = "$submission_probe_password_file$"
    "--timeout" = "$submission_probe_timeout$"
    "profile" = {{
      value = "$submission_probe_profile$"
      skip_key = true
      required = true
      order = 1
    }}
  }}
  vars.submission_probe_profile = {_dsl(str(job.profile))}
  vars.submission_probe_timeout = "50s"
  // Above the run's own limit, so that the run reports what it was waiting for.
  timeout = 60s
}}

// To copy:
// apply Service "submission" {{
//   import "generic-service"
//   check_command = "submission-probe"
//   check_interval = 5m
//   vars.submission_probe_profile = {_dsl(str(job.profile))}
//   vars.submission_probe_password_file = {_dsl(password)}
//   assign where host.vars.submission_probe
// }}
"""


def _word(text: str) -> str:
    """One word of ExecStart=: quoted, with systemd's own signs doubled (systemd.service(5), "Command lines")."""
    text = text.replace("%", "%%").replace("$", "$$")
    return text if re.fullmatch(r"[A-Za-z0-9_./:@=+%$-]+", text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _path(path: Path) -> str:
    return str(path).replace("%", "%%")


def _plain(text: str) -> str:
    return text.replace("%", "%%")


def _dsl(text: str) -> str:
    """An Icinga 2 string. A dollar sign would begin a macro: two of them are one."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$") + '"'


def program(argv: Sequence[str], executable: str) -> tuple[str, ...]:
    """How to call this very installation, in absolute paths: schedulers have a PATH of their own."""
    called = Path(argv[0]) if argv else Path()
    near = Path(executable).parent
    # On Windows pip makes probe.exe, in Scripts beside python.exe (below it, outside a virtual environment); pipx too.
    places = [called] if called.name in ("probe", "probe.exe") else []
    places += [called.with_name("probe.exe")] if called.name == "probe" else []
    for place in (*places, near / "probe", near / "probe.exe", near / "Scripts" / "probe.exe"):
        if place.is_file():
            return (str(place.absolute()),)
    return (executable, "-m", "probe")
