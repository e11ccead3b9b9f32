"""`--expect-change`: what was announced is no warning, and one that did not happen is; and which runs are compared."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probe.cli import entry
from probe.cli.compare import wanted
from probe.report.comparison import comparison_to_json
from probe.runs.compare import NotComparable, compare

RECORDED = Path(__file__).parent.parent / "recorded"
RUN: dict[str, Any] = json.loads((RECORDED / "ok-exchange.json").read_text(encoding="ascii"))
NEW, OTHER, SHA256 = "434AC224C8459924B26521298CE8834C514856AB", "AB" * 20, "5F" * 32
COLONS = "43:4a:c2:24:c8:45:99:24:b2:65:21:29:8c:e8:83:4c:51:48:56:ab"
PORTS = ("", "imap.", "pop3.")


def served(facts: dict[str, Any], thumbprint: str = NEW) -> None:
    """Another certificate, as a renewal gives it."""
    facts |= {"thumbprint": thumbprint, "sha256": SHA256, "not_after": "2027-11-24T08:00:00Z"}
    facts["chain"][0] |= {"issuer": "CN=Contoso CA", "key": "RSA", "key_bits": 3072}


def changed(**legs: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The run with each named leg's certificate changed."""
    run = copy.deepcopy(RUN)
    for stage in run["reports"][0]["stages"]:
        leg, _, kind = stage["name"].partition(".")
        if kind == "certificate" and leg in legs:
            legs[leg](stage["facts"])
    return run


EVERYWHERE = changed(smtp=served, imap=served, pop3=served)
NOT_POP3 = changed(smtp=served, imap=served)


def found(after: dict[str, Any], *expected: str, before: dict[str, Any] = RUN) -> tuple[str, dict[str, dict[str, Any]]]:
    """Verdict and changes by key."""
    pairs = [(key, value) for key, _, value in (line.partition("=") for line in expected)]
    told: Any = comparison_to_json(compare(before, after, pairs))
    return told["verdict"], {change["key"]: change for change in told["changes"]}


def saved(folder: Path, run: dict[str, Any], name: str) -> str:
    path = folder / name
    path.write_text(json.dumps(run), encoding="ascii")
    return str(path)


@pytest.mark.parametrize(
    "expected",
    [
        f"certificate={NEW}",
        f"certificate={COLONS}",
        "certificate=43 4A C2 24 C8 45 99 24 B2 65 21 29 8C E8 83 4C 51 48 56 AB",
        f"certificate=\u200e{NEW.lower()}",  # as Windows' dialogue gives it
        f"certificate={SHA256.lower()}",
        "certificate=*",
        f"Certificate={NEW}",
        "*.certificate.*=*",
    ],
)
def test_one_word_announces_a_certificate_at_every_port(tmp_path: Path, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = saved(tmp_path, RUN, "before.json"), saved(tmp_path, EVERYWHERE, "after.json")
    assert entry(["compare", before, after]) == 1
    capsys.readouterr()
    assert entry(["compare", before, after, "--expect-change", expected]) == 0
    said = capsys.readouterr().out
    assert said.startswith("OK") and all(f"{port}certificate.thumbprint" in said for port in PORTS)


def test_a_port_that_still_serves_the_old_certificate_is_a_finding() -> None:
    verdict, changes = found(NOT_POP3, f"certificate={NEW}")
    missed = changes.pop("pop3.certificate.thumbprint")
    assert verdict == "warning" and missed["severity"] == "warning" and not missed["expected"]
    assert missed["before"] == missed["after"] != NEW and missed["wanted"] == NEW
    assert all(change["expected"] for change in changes.values()) and "certificate.issuer" in changes


def test_another_certificate_than_announced_is_no_announced_change() -> None:
    verdict, changes = found(
        changed(smtp=served, imap=served, pop3=lambda facts: served(facts, OTHER) or facts.pop("sha256")),  # type: ignore[func-returns-value]
        f"certificate={NEW}",
    )
    assert verdict == "warning" and changes["pop3.certificate.thumbprint"]["wanted"] == NEW
    assert (
        {key for key, change in changes.items() if not change["expected"]}
        == {key for key in changes if key.startswith("pop3.")}
        >= {"pop3.certificate.issuer"}
    )


def test_one_port_may_be_announced_alone() -> None:
    assert found(changed(imap=served), f"imap.certificate={NEW}")[0] == "ok"
    assert found(changed(smtp=served), f"smtp.certificate={NEW}")[0] == "ok"
    assert found(EVERYWHERE, f"imap.certificate={NEW}")[0] == "warning"
    # A narrower word goes before the general one: POP3 has a certificate of its own.
    mixed = changed(smtp=served, imap=served, pop3=lambda facts: facts.update(thumbprint=OTHER))
    assert found(mixed, f"certificate={NEW}")[0] == "warning"
    assert found(mixed, f"certificate={NEW}", f"pop3.certificate={OTHER}")[0] == "ok"


def test_a_star_before_the_key_means_every_port() -> None:
    expected = [f"*.certificate.{part}=*" for part in ("issuer", "not_after", "key")]
    verdict, changes = found(EVERYWHERE, f"*.certificate.thumbprint={NEW}", *expected)
    assert verdict == "ok" and {f"{port}certificate.thumbprint" for port in PORTS} <= set(changes)
    verdict, changes = found(NOT_POP3, f"*.certificate.thumbprint={NEW}", "*.certificate.*=*")
    assert verdict == "warning" and [key for key, change in changes.items() if change["wanted"]] == ["pop3.certificate.thumbprint"]
    verdict, changes = found(NOT_POP3, "*.certificate.thumbprint=*", "*.certificate.*=*")
    assert verdict == "warning" and changes["pop3.certificate.thumbprint"]["wanted"] == "*"


@pytest.mark.parametrize(
    "expected",
    [f"certificate={NEW}", "certificate.thumbprint=*", "*.certificate.*=*", "ehlo_tls.XOAUTH2=*", "certificate.thumbprin=*"],
)
def test_an_expected_change_that_did_not_happen_is_a_finding(
    tmp_path: Path, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = saved(tmp_path, RUN, "before.json"), saved(tmp_path, RUN, "after.json")
    for format in ("text", "markdown", "html", "github", "junit", "tap", "nagios"):
        assert entry(["compare", before, after, "--expect-change", expected, "-o", format]) == 1, format
        said = capsys.readouterr()
        assert re.search("expected changes? did not happen|a change was expected|expected: 434A", said.out), format
        assert "localhost" in said.out and "comparison:0" not in said.out and not said.err
    assert entry(["compare", before, after]) == 0


def test_a_slip_of_the_pen_is_called_one() -> None:
    notes = compare(RUN, EVERYWHERE, [("certificat.thumbprint", "*")]).notes
    assert notes == ("no fact is called certificat.thumbprint; did you mean certificate.thumbprint?",)
    assert compare(RUN, EVERYWHERE, [("certificate.thumbprint", "*"), ("ehlo_tls.XOAUTH2", "*")]).notes == ()


def test_what_is_as_announced_already_is_no_fault() -> None:
    verdict, changes = found(EVERYWHERE, f"certificate={NEW}", before=EVERYWHERE)
    assert verdict == "ok" and {change["severity"] for change in changes.values()} == {"info"} and len(changes) == 3


def test_no_star_excuses_what_broke() -> None:
    broken = copy.deepcopy(EVERYWHERE)
    next(stage for stage in broken["reports"][0]["stages"] if stage["name"] == "imap.login")["status"] = "failed"
    verdict, changes = found(broken, "*=*", f"certificate={NEW}")
    assert verdict == "critical" and not changes["imap.login.status"]["expected"]
    assert found(broken, "imap.login.status=failed", f"certificate={NEW}")[0] == "ok"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("certificate", "takes KEY=VALUE, such as certificate=THUMBPRINT"),
        ("certificate=", "wants a value"),
        ("certificate=12:34", "wants a thumbprint (40 hex digits, or 64 of SHA-256) or *"),
        ("=x", "takes KEY=VALUE"),
        (f"cert={NEW}", "no fact of a run is called 'cert'; did you mean certificate?"),
        ("certificat.thumbprint=*", "did you mean certificate?"),
        ("ehlo-tls.DSN=*", "did you mean ehlo_tls?"),
        ("pop=*", "did you mean pop3?"),
        ("zzz.DSN=*", "it begins with addresses, certificate, "),
    ],
)
def test_an_expectation_that_is_none_is_refused_in_one_line(
    tmp_path: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = saved(tmp_path, RUN, "run.json")
    assert entry(["compare", run, run, "--expect-change", words]) == 3
    printed = capsys.readouterr()
    assert said in printed.err and printed.err.count("\n") == 1 and not printed.out


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: str(path.stem))
def test_whatever_a_comparison_shows_can_be_announced(path: Path) -> None:
    """No first word is refused that a run has."""
    run = json.loads(path.read_text(encoding="ascii"))
    empty = copy.deepcopy(run)
    for report in empty["reports"]:
        report |= {"stages": [], "findings": []}
    keys = {change.key for one, other in ((run, empty), (empty, run)) for change in compare(one, other).changes}
    for key in (*keys, "latency.delivery", "target", "Certificate", "*.tls.version", "imap.certificate"):
        value = NEW if key.lower().endswith("certificate") else "x"
        assert wanted([f"{key}={value}"], None)


def test_a_slip_is_refused_before_anything_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, profile = saved(tmp_path, RUN, "before.json"), tmp_path / "p.toml"
    profile.write_text('[submission]\nhost = "localhost"\nport = 1\n[account]\nusername = "a@b.test"\npassword = { env = "PW" }\n')
    assert entry(["run", str(profile), "--against", before, "--expect-change", f"cert={NEW}"]) == 3
    printed = capsys.readouterr()
    assert "did you mean certificate?" in printed.err and not printed.out


def test_values_may_hold_colons_and_equal_signs() -> None:
    expected = [f"{port}certificate.{line}" for port in PORTS for line in (
        f"thumbprint={NEW}", "issuer=CN=Contoso CA", "not_after=2027-11-24T08:00:00Z", "key=RSA 3072",
    )]  # fmt: skip
    assert found(EVERYWHERE, *expected)[0] == "ok"


# -- which runs are compared ---------------------------------------------------------------------------------


def elsewhere(**target: Any) -> dict[str, Any]:
    run = copy.deepcopy(RUN)
    run["reports"][0]["target"] |= target
    return run


def test_another_host_is_compared_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = elsewhere(host="mail2.contoso.com", port=587)
    before, after = saved(tmp_path, RUN, "before.json"), saved(tmp_path, moved, "after.json")
    for format in ("text", "markdown", "html", "json"):
        assert entry(["compare", before, after, "-o", format]) == 0, format
        said = capsys.readouterr().out.replace("\\", "")
        assert "another host: before demo localhost:" in said and "after demo mail2.contoso.com:587" in said, format
    assert "another port" in compare(RUN, elsewhere(port=2587)).notes[0]
    renamed = elsewhere()
    renamed["reports"][0]["profile"] = "office"
    assert "another profile" in compare(RUN, renamed).notes[0]
    assert compare(RUN, RUN).notes == ()


def several(*names: tuple[str, str, str | None]) -> dict[str, Any]:
    """A run of (profile, host, node's address)."""
    run = copy.deepcopy(RUN)
    template = run["reports"].pop()
    for profile, host, node in names:
        report = copy.deepcopy(template) | {"profile": profile, "kind": "node" if node else "run"}
        report["target"] |= {"host": host, "port": 587, "address": node or template["target"]["address"]}
        run["reports"].append(report)
    return run


def test_a_node_is_known_by_its_address() -> None:
    before, after = (
        several(("p", "h", "192.0.2.1"), ("p", "h", "192.0.2.2")),
        several(("p", "h", "192.0.2.1"), ("p", "h", "192.0.2.3")),
    )
    told = compare(before, after)
    assert [(change.target, change.before, change.after) for change in told.changes] == [
        ("p h:587 at 192.0.2.2", "probed", None), ("p h:587 at 192.0.2.3", None, "probed"),
    ]  # fmt: skip


def test_each_node_is_held_to_what_was_announced() -> None:
    nodes = several(("p", "h", "192.0.2.1"), ("p", "h", "192.0.2.2"))
    after = copy.deepcopy(nodes)
    for stage in after["reports"][0]["stages"]:
        if stage["name"].endswith(".certificate"):
            served(stage["facts"])
    told = compare(nodes, after, [("certificate", NEW)])
    assert {change.target for change in told.changes if change.wanted} == {"p h:587 at 192.0.2.2"}


def test_targets_without_a_likeness_are_not_compared() -> None:
    with pytest.raises(NotComparable, match="no target in common"):
        compare(several(("a", "h1", None), ("b", "h2", None)), several(("c", "h3", None), ("d", "h4", None)))
    with pytest.raises(NotComparable, match="no target in common: before has none"):
        compare({**RUN, "reports": []}, RUN)


def test_a_comparison_is_written_to_files_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = saved(tmp_path, RUN, "before.json"), saved(tmp_path, EVERYWHERE, "after.json")
    page, note = tmp_path / "ticket.html", tmp_path / "ticket.md"
    assert entry(["compare", before, after, "--report", f"html={page}", "--report", f"markdown={note}"]) == 1
    assert capsys.readouterr().out.startswith("WARNING")
    assert NEW in page.read_text(encoding="utf-8").replace("<wbr>", "") and f"`{NEW}`" in note.read_text(encoding="utf-8")
