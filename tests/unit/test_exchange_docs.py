"""docs/exchange.md and the PowerShell functions say what is true: every parameter of the cmdlets, every cause, every option."""

import re
from pathlib import Path

import pytest

from probe.cli import entry
from probe.judge import kinds
from probe.judge._replies import entries

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "exchange.md").read_text(encoding="utf-8")
SCRIPT = (ROOT / "deploy" / "powershell" / "SubmissionProbe.ps1").read_text(encoding="utf-8")

# learn.microsoft.com/powershell/module/exchange/test-imapconnectivity: its parameters, its connection types, its columns.
CMDLETS = (
    "ClientAccessServer", "MailboxServer", "MailboxCredential", "ResetTestAccountCredentials", "ConnectionType Plaintext",
    "ConnectionType Ssl", "ConnectionType Tls", "PortClientAccessServer", "TrustAnySSLCertificate", "LightMode",
    "PerConnectionTimeout", "Timeout", "MonitoringContext", "DomainController", "Confirm", "WhatIf", "CasServer", "LocalSite",
    "Scenario", "Result", "Latency(MS)", "Error",
)  # fmt: skip


def _rows() -> list[list[str]]:
    table = PAGE.partition("## The cmdlets' features")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")][2:]


def test_the_parity_table_has_every_feature_and_no_empty_cell() -> None:
    rows = _rows()
    assert all(len(row) == 3 and all(row) for row in rows)
    features = " ".join(row[0] for row in rows)
    assert [name for name in CMDLETS if f"`{name}`" not in features] == []


def test_the_table_of_causes_is_the_one_of_the_program() -> None:
    found = re.findall(r"\(`reply\.([a-z0-9-]+)`\) \| (.*?) \| `(.*)` \|$", PAGE, re.MULTILINE)
    shown = {name: (cause, look) for name, cause, look in found}
    expected = {
        item.id: tuple(text.replace("`", "").replace("|", "\\|") for text in (item.cause, item.look))
        for item in entries()
        if item.source.startswith("https://learn.microsoft.com")
    }
    assert shown == expected


def test_options_and_findings_that_the_page_names_exist(capsys: pytest.CaptureFixture[str]) -> None:
    known = set()
    for command in ("run", "correlate", "explain"):
        entry([command, "--help"])
        known |= set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"`[^`\n]*?(--[a-z][a-z-]+)", PAGE)) <= known
    assert set(re.findall(r"(?<=')--[a-z][a-z-]+(?=')", SCRIPT)) <= known
    assert "port.security-differs" in kinds()


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_the_settings_that_the_powershell_functions_make_are_taken(protocol: str, capsys: pytest.CaptureFixture[str]) -> None:
    named = re.findall(r'"((?:readback\.\$Protocol|limits)\.[a-z_]+)=', SCRIPT)
    assert sorted(set(named)) == ["limits.per_connection", "readback.$Protocol.port", "readback.$Protocol.security"]
    line = ["run", "exchange-2016", "--dry-run"]
    line += ["--host", "mail.contoso.com", "--user", "probe@contoso.com", "--password-env", "NAME"]
    line += ["--timeout", "180s", "--set", "limits.per_connection=120s", "--readback", protocol]
    line += ["--set", f"readback.{protocol}.security=starttls", "--set", f"readback.{protocol}.port=2143"]
    assert entry(line) == 0
    assert f"{protocol}  mail.contoso.com:2143 starttls" in capsys.readouterr().out


def test_the_powershell_functions_read_what_the_output_writes() -> None:
    """Members that the script takes from a row, and scenarios it looks for, are those of `exchange`."""
    from probe.tell import exchange

    source = Path(exchange.__file__).read_text(encoding="utf-8")
    members = set(re.findall(r"\$row\.([A-Za-z]+)", SCRIPT))
    assert {"Scenario", "Result", "Events"} <= members
    assert all(f'"{name}":' in source for name in members)
    assert all(scenario in source for scenario in re.findall(r"-Scenario '([^']+)'", SCRIPT))


def test_the_powershell_functions_have_the_cmdlets_parameters_and_no_password_on_a_line() -> None:
    for function in ("Test-ProbeImapConnectivity", "Test-ProbePopConnectivity", "Test-ProbeSubmission"):
        body = SCRIPT.partition(f"function {function} {{")[2].partition("\nfunction ")[0]
        declared = set(re.findall(r"\[[^\]]+\]+ \$([A-Z][A-Za-z]+)", body)) | set(re.findall(r"\[switch\] \$([A-Za-z]+)", body))
        wanted = {name.partition(" ")[0] for name in CMDLETS[:13]} - {"MailboxServer"}
        assert wanted <= declared
    assert "'--password-env'" in SCRIPT and not re.search(r"--password['\s]", SCRIPT)
    assert SCRIPT.count("{") == SCRIPT.count("}") and SCRIPT.count("(") == SCRIPT.count(")")
