"""A task for Windows' Task Scheduler: every five minutes, one at a time, ended when it hangs.

Elements in the order in which Windows exports them: https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema
"""

import subprocess
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from probe.cli._shell import word

if TYPE_CHECKING:
    from probe.cli._schedule import Job

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
# Above the run's own limit (50 s), so that the run reports what it was waiting for and deletes its message.
TIME_LIMIT = "PT4M"
ENCODING = "utf-16"

_SETTINGS = {
    # A run that takes longer than the interval is not joined by another one on the same mailbox.
    "MultipleInstancesPolicy": "IgnoreNew",
    "DisallowStartIfOnBatteries": "false",
    "StopIfGoingOnBatteries": "false",
    "AllowHardTerminate": "true",
    "StartWhenAvailable": "true",
    "RunOnlyIfNetworkAvailable": "false",
    "AllowStartOnDemand": "true",
    "Enabled": "true",
    "Hidden": "false",
    "RunOnlyIfIdle": "false",
    "WakeToRun": "false",
    "ExecutionTimeLimit": TIME_LIMIT,
    "Priority": "7",
}


def task(job: "Job") -> str:
    """The task in XML, to be saved as UTF-16 (what Windows itself writes) and given to `schtasks /create /xml`."""
    root = Element("Task", {"version": "1.2", "xmlns": NAMESPACE})
    _filled(SubElement(root, "RegistrationInfo"), {"Description": f"Prove that users can submit mail: {job.name}"})
    trigger = SubElement(SubElement(root, "Triggers"), "TimeTrigger")
    _filled(SubElement(trigger, "Repetition"), {"Interval": "PT5M", "StopAtDurationEnd": "false"})
    # A minute's spread, so that many machines do not knock in the same second.
    _filled(trigger, {"StartBoundary": "2026-01-01T00:00:00", "Enabled": "true", "RandomDelay": "PT1M"})
    principal = SubElement(SubElement(root, "Principals"), "Principal", {"id": "Author"})
    # Whose password is stored: runs when nobody is logged on, and may use the network.
    _filled(principal, {"LogonType": "Password", "RunLevel": "LeastPrivilege"})
    _filled(SubElement(root, "Settings"), _SETTINGS)
    run = SubElement(SubElement(root, "Actions", {"Context": "Author"}), "Exec")
    words = (*job.program[1:], "run", "-q", str(job.profile))
    _filled(
        run, {"Command": job.program[0], "Arguments": subprocess.list2cmdline(words), "WorkingDirectory": str(job.profile.parent)}
    )
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-16"?>\n{tostring(root, encoding="unicode")}\n'


def _filled(parent: Element, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        SubElement(parent, name).text = text


def registering(job: "Job", file: str) -> list[str]:
    """How to register the task: the command for cmd.exe and PowerShell, and PowerShell's own."""
    name = job.unit
    powershell = file.replace("'", "''")
    lines = [
        f'schtasks /create /tn "{name}" /xml "{file}" /ru DOMAIN\\USER /rp *',
        f"or in PowerShell: Register-ScheduledTask -TaskName '{name}' -Xml (Get-Content -Raw '{powershell}') "
        "-User DOMAIN\\USER -Password (Get-Credential DOMAIN\\USER).GetNetworkCredential().Password",
        f"what came of it: probe history {word(job.name, windows=True)}; the task's last result is the exit status",
    ]
    if job.password_env:
        lines.append(
            f"note: a task has no environment of its own: {job.password_env} must be a variable of that user, "
            "or use a password file or { keyring = … } (Windows Credential Manager)"
        )
    return lines
