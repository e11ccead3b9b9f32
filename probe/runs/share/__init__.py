"""A saved run that can be shown to anybody: user names, hosts, addresses, ids and all that may name somebody replaced by stand-ins.

Done once, before any output, so that every format shows the same. Numbers, times, verdicts, and the words that name nobody stay.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from probe import facts
from probe.facts import Facts, parts
from probe.report import Report
from probe.report.as_json import report_to_json
from probe.runs.saved import Saved, rebuilt
from probe.runs.share.stand_ins import StandIns
from probe.runs.share.texts import Texts

_HOSTS = frozenset(
    """host node name name_checked sni hostname by server cnames subject_names dns_names common_names address addresses remote
    local ip_addresses""".split()  # noqa: SIM905
)
_USERS = frozenset(("username", "sender_rewritten"))
_NUMBERS = frozenset(("serial", "thumbprint", "sha1", "sha256", "data", "roots_named_alike", "verified_path"))
_DISTINGUISHED = frozenset(("subject", "issuer", "certificate_name"))
_DAYS = frozenset(("not_before", "not_after"))
# Whole certificates: nothing of them can be kept.
_DROPPED = frozenset(("chain_der",))


def shared(saved: Saved) -> Saved:
    """The same run with stand-ins: the same real value has the same one in all its reports."""
    data = [report_to_json(report) for report in saved.reports]
    made = _Sharing(saved.reports)
    for one in data:
        made.learn_report(one)
    return replace(saved, reports=rebuilt([made.report(one) for one in data]))


class _Sharing:
    """Walks through the JSON of reports: which key a value stands under says what it is."""

    def __init__(self, reports: Iterable[Report]) -> None:
        self._given = StandIns()
        self._keys = _our_keys()
        self._texts = Texts(self._given, _our_names(reports))

    def learn_report(self, data: Mapping[str, Any]) -> None:
        self.learn(data["target"])
        for stage in data["stages"]:
            self.learn(stage["facts"])
        for line in data["transcript"]:
            if line["direction"] == ">":
                self._texts.learn_tag(line["text"])

    def learn(self, value: Any, key: str = "") -> None:
        """Every name that stands in a place of its own, so that it is known wherever a text repeats it."""
        if isinstance(value, str):
            if key in _USERS:
                self._texts.learn_user(value)
            elif key in _HOSTS:
                self._texts.learn_host(value)
            elif key in _DAYS:
                self._texts.learn_day(value)
            elif key in _DISTINGUISHED:
                self._texts.learn_numbers(value)
            elif key == "queue_id":
                self._texts.learn_id(value)
        else:
            for inner, item in _inside(value, key):
                self.learn(item, inner)

    def report(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """One report. The target comes first, so that its domain is the first."""
        target = self._some(data["target"], "host", "address", "node")
        return {
            **data,
            "id": self._given.one("run", data["id"]),
            "profile": self._profile(data["profile"]),
            "target": target,
            "error": self.value(data.get("error"), "error"),
            "stages": [{**self._some(stage, "reason"), "facts": self.value(stage["facts"])} for stage in data["stages"]],
            "findings": [self._some(finding, "summary", "evidence", "cause", "remedy") for finding in data["findings"]],
            "transcript": [self._some(line, "text") for line in data["transcript"]],
        }

    def _profile(self, name: str) -> str:
        return name if self._texts.says_nothing(name) else self._given.one("profile", name)

    def _some(self, data: Mapping[str, Any], *keys: str) -> dict[str, Any]:
        return {key: self.value(item, key) if key in keys else item for key, item in data.items()}

    def value(self, value: Any, key: str = "") -> Any:
        """Any value of the JSON under its key."""
        if isinstance(value, str):
            return self._by(key)(value)
        if isinstance(value, Mapping):
            return {self._key(name, key): self.value(item, str(name)) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [] if key in _DROPPED else [self.value(item, key) for item in value]
        return value

    def _by(self, key: str) -> Callable[[str], str]:
        kinds = (
            (_HOSTS, self._texts.host),
            (_USERS, self._user),
            (_NUMBERS, self._given.hexadecimal),
            (_DAYS, self._texts.learn_day),
        )
        return next((how for keys, how in kinds if key in keys), self._id if key == "queue_id" else self._texts.text)

    def _user(self, name: str) -> str:
        """A user's name; of a field that names another sender, `From: …`, too."""
        return self._texts.text(name) if " " in name or ":" in name else self._texts.user(name)

    def _id(self, name: str) -> str:
        return self._texts.text(name) if "@" in name else self._given.one("id", name)

    def _key(self, name: str, of: str) -> str:
        return name if name in self._keys else self._texts.host(name) if of in _NAMED_BY_HOST else self._texts.text(name)


_NAMED_BY_HOST = frozenset(("reader_hosts",))


def _inside(value: Any, key: str) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    return ((key, item) for item in value) if isinstance(value, Sequence) else ()


def _our_keys() -> frozenset[str]:
    """Every key that this program names itself; the others are a server's or a profile's words."""
    tables = [kind for kind in vars(parts).values() if isinstance(kind, type) and hasattr(kind, "__annotations__")]
    kinds = [kind for kind in vars(facts).values() if isinstance(kind, type) and issubclass(kind, Facts)]
    named = {name for table in tables for name in table.__annotations__}
    return frozenset(named | {item.name for kind in kinds for item in fields(kind)})


def _our_names(reports: Iterable[Report]) -> Iterable[str]:
    """Names with a dot in them that are no hosts: stages and findings."""
    for report in reports:
        yield from (stage.name for stage in report.stages)
        yield from (finding.id for finding in report.findings)
