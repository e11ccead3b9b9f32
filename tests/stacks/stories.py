"""What must hold on every stack: `stack` is a Bench whose `mail` has the ports and mailboxes of `MailServers`, and whose
`stop_authentication` ends what the servers ask for passwords. What is told here of one stack alone stands in its own file."""

from pathlib import Path

from probe.state.place import Files
from tests.marks import unlike
from tests.scenarios.test_round_trip import NEIGHBOUR, Bench, Ran

READERS = {"imap": ("imap",), "pop3": ("pop3",), "both": ("imap", "pop3")}
SECURITIES = ("starttls", "tls")
LOGONS = {"smtp.auth", "imap.login", "pop3.login"}
READER_LOGONS = frozenset(LOGONS - {"smtp.auth"})
WRONG = "wrong-Horse7battery"


def run(stack: Bench, *options: str, security: str = "starttls", mechanism: str = "auto", password: str | None = None) -> Ran:
    """One run of the command line, with this mechanism at all three servers."""
    return stack.run(stack.profile(security=security, account={"mechanism": mechanism}), *options, password=password)


def reads_and_leaves_nothing(stack: Bench, security: str, readers: str, mechanism: str) -> None:
    """A whole run is ok, by this mechanism; what it brought is gone, and the foreign message is as it was."""
    before = stack.mail.messages(stack.user)
    foreign = [message for message in before if b"lunch?" in message]
    assert len(foreign) == 1
    ran = run(stack, "--readback", readers, security=security, mechanism=mechanism)
    assert (ran.code, ran.report["verdict"], ran.report["failed_stage"]) == (0, "ok", None), said(ran)
    logons = [ran.stage(name)["facts"] for name in ("smtp.auth", *(f"{reader}.login" for reader in READERS[readers]))]
    assert [logon["attempts"] for logon in logons] == [1] * len(logons)
    assert mechanism == "auto" or {logon["mechanism"] for logon in logons} <= {mechanism, "USER"}, logons
    after = stack.mail.messages(stack.user)
    # Not "as before": what another test that failed left behind is not this one's matter.
    assert foreign[0] in after and set(after) <= set(before)


def refuses_and_is_left_alone(folder: Path, mail: object, user: str, mechanism: str) -> None:
    """A wrong password is `auth.refused` at each server, and the next run leaves all of them alone; another password is tried."""
    own = Bench(folder, mail, user=user)
    wrong = unlike(Files(folder / "state").key()[0], own.password, WRONG, f"{WRONG}-2", f"{WRONG}-3")
    first = run(own, "--light", mechanism=mechanism, password=wrong)
    assert found(first) == dict.fromkeys(LOGONS, "auth.refused"), said(first)
    second = run(own, "--light", mechanism=mechanism, password=wrong)
    assert found(second) == dict.fromkeys(LOGONS, "auth.suspended"), said(second)
    assert not any(stage["facts"].get("attempts") for stage in second.report["stages"] if stage["name"] in LOGONS)
    corrected = run(own, "--light", mechanism=mechanism)
    assert (corrected.code, corrected.report["verdict"]) == (0, "ok"), said(corrected)


def suspends_the_challenge_only(own: Bench, mechanism: str, refusing: set[str]) -> None:
    """A challenge that these servers list and cannot do, with the right password: later runs by `auto` log on everywhere."""
    first = run(own, "--light", mechanism=mechanism)
    assert set(found(first)) == refusing and set(found(first).values()) <= {"auth.refused", "auth.mechanism-failed"}, said(first)
    later = run(own, "--light")
    assert (later.code, later.report["verdict"]) == (0, "ok"), said(later)


def is_no_wrong_password(
    stack: Bench, security: str, mechanism: str, ids: set[str], failing: frozenset[str] = frozenset(LOGONS)
) -> None:
    """With the right password these logons fail with findings among `ids`, and the next run tries them again."""
    for _ in range(2):
        ran = run(stack, "--light", security=security, mechanism=mechanism)
        of_them = {stage: finding for stage, finding in found(ran).items() if stage in failing}
        assert set(of_them) == failing and set(of_them.values()) <= ids, said(ran)
        assert all(ran.stage(name)["facts"]["attempts"] == 1 for name in failing), said(ran)


def said(ran: Ran) -> str:
    """What a failed test shows of a run: findings with their evidence, and each stage that failed."""
    findings = [f"{item['severity']} {item['id']}@{item['stage']}: {item.get('evidence')}" for item in ran.report["findings"]]
    stages = [f"{stage['name']} {stage['status']}: {stage['reason']}" for stage in ran.report["stages"] if stage["reason"]]
    return "\n".join((f"exit {ran.code}", *findings, *stages))


def found(ran: Ran) -> dict[str, str]:
    """The finding of each logon that failed, by stage."""
    critical = [item for item in ran.report["findings"] if item["stage"] in LOGONS and item["severity"] == "critical"]
    assert len({item["stage"] for item in critical}) == len(critical), critical
    return {item["stage"]: item["id"] for item in critical}


def neighbour(stack: Bench) -> Bench:
    """The stack with a foreign message in the mailbox."""
    stack.mail.deliver(stack.user, NEIGHBOUR)
    return stack
