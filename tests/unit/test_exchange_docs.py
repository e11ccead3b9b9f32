"""docs/exchange.md and the PowerShell functions say what is true: every parameter of the cmdlets, every cause, every option."""

import json
import re
from collections.abc import Iterator
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
        item.id: tuple(text.replace("`", "").replace("|", "\\|") for text in (item.cause, item.check))
        for item in entries()
        if item.source.startswith("https://learn.microsoft.com")
    }
    assert shown == expected


def test_options_and_findings_that_the_page_names_exist(capsys: pytest.CaptureFixture[str]) -> None:
    known = set()
    for command in ("run", "correlate", "explain", "init"):
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
    from probe.output import exchange

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


# What Windows PowerShell 5.1 does not know, or does in another way than 7 (about_Operators, about_Pipeline_Chain_Operators).
_NOT_IN_5_1 = {
    "null operators": r"\?\?|\?\.\w|\?\[",
    "ternary": r"\s\?\s.+\s:\s",
    "chains": r"&&|\|\|",
    "-Parallel": r"-Parallel\b",
    "-AsHashtable": r"-AsHashtable\b",
    "utf8NoBOM": r"utf8NoBOM",
    "-AsByteStream": r"-AsByteStream\b",
    "redirection, which writes UTF-16": r"(?<![\d>-])>\s*[\w$'\"]",
    "2>&1, which makes errors of stderr": r"2>&1",
}


def test_the_powershell_functions_hold_nothing_that_5_1_does_not_know() -> None:
    """5.1 reads a script without a byte order mark as ANSI, drops empty arguments, and does not escape quotes in one."""
    code = re.sub(r"<#.*?#>", "", SCRIPT, flags=re.DOTALL)
    code = "\n".join(line.partition("#")[0] for line in code.splitlines())
    assert SCRIPT.isascii()
    found = {name: re.findall(pattern, code) for name, pattern in _NOT_IN_5_1.items() if re.search(pattern, code)}
    assert found == {}
    assert re.search("&&|2>&1", "a && b 2>&1"), "the patterns find what they are for"
    assert "-Encoding UTF8" in code and "$LASTEXITCODE" in code and code.count("ConvertFrom-Json") == 2
    assert "$LASTEXITCODE" not in code.partition("finally {")[0], "it is read after the call, before another program runs"


def _objects(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(item)


@pytest.mark.parametrize("run", sorted((ROOT / "tests" / "recorded").glob("*.json")), ids=lambda path: path.stem)
def test_powershell_5_1_reads_every_run(run: Path, capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    """Its ConvertFrom-Json refuses an empty key and keys that differ in case only; its console reads stdout as OEM."""
    rows = tmp_path / "rows.json"
    entry(["report", str(run), "-o", "json", "--report", f"exchange={rows}"])
    octets = capsysbinary.readouterr().out
    assert octets.isascii() and octets.decode("cp437") == octets.decode("utf-8")
    for text in (octets.decode("cp437"), rows.read_text(encoding="utf-8-sig")):
        for one in _objects(json.loads(text)):
            assert "" not in one and len({key.lower() for key in one}) == len(one), sorted(one)
