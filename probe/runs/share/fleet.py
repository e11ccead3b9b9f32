"""A list of certificates that can be shown to anybody: the same stand-ins as in a shared run, for whatever names somebody."""

from collections.abc import Iterable
from dataclasses import replace

from probe.report.changes import Renewal
from probe.report.fleet import Certificate, Fleet, FleetFinding, NotSeen, Port
from probe.runs.share.stand_ins import StandIns
from probe.runs.share.texts import Texts


def shared_fleet(fleet: Fleet) -> Fleet:
    """The same list; the same real value has the same stand-in everywhere in it. Dates and numbers of days stay."""
    made = _Sharing(finding.id for finding in fleet.findings)
    made.learn(fleet)
    return replace(
        fleet,
        certificates=tuple(map(made.certificate, fleet.certificates)),
        not_seen=tuple(map(made.not_seen, fleet.not_seen)),
        renewals=tuple(map(made.renewal, fleet.renewals)),
        findings=tuple(map(made.finding, fleet.findings)),
    )


class _Sharing:
    def __init__(self, ours: Iterable[str]) -> None:
        self._given = StandIns()
        self._texts = Texts(self._given, ours)

    def learn(self, fleet: Fleet) -> None:
        """Every name that stands in a place of its own, before any text is replaced."""
        for one in fleet.certificates:
            for name in (*one.names, one.name, *(port.host for port in one.ports), *(port.node or "" for port in one.ports)):
                self._texts.learn_host(name)
            for name in (one.subject, one.issuer):
                self._texts.learn_numbers(name)
        for missing in fleet.not_seen:
            self._texts.learn_host(missing.host)

    def certificate(self, one: Certificate) -> Certificate:
        return replace(
            one, name=self._texts.text(one.name), sha1=self._hexadecimal(one.sha1), sha256=self._hexadecimal(one.sha256),
            serial=self._hexadecimal(one.serial), subject=self._texts.text(one.subject), issuer=self._texts.text(one.issuer),
            names=tuple(map(self._texts.text, one.names)), ports=tuple(map(self._port, one.ports)),
        )  # fmt: skip

    def _port(self, one: Port) -> Port:
        return replace(
            one, host=self._texts.host(one.host), address=self._texts.host(one.address), profiles=self._profiles(one.profiles),
            node=None if one.node is None else self._texts.host(one.node), software=self._texts.text(one.software),
            renewed_as=None if one.renewed_as is None else self._hexadecimal(one.renewed_as),
        )  # fmt: skip

    def not_seen(self, one: NotSeen) -> NotSeen:
        address = None if one.address is None else self._texts.host(one.address)
        host, text = self._texts.host(one.host), self._texts.text(one.text)
        return replace(one, host=host, address=address, profiles=self._profiles(one.profiles), text=text)

    def renewal(self, one: Renewal) -> Renewal:
        before, after = self._hexadecimal(one.before), self._hexadecimal(one.after)
        (profile,) = self._profiles((one.profile,))
        return replace(
            one, profile=profile, host=self._texts.host(one.host), node=self._texts.host(one.node), before=before, after=after
        )

    def finding(self, one: FleetFinding) -> FleetFinding:
        text = self._texts.text
        words = replace(one, summary=text(one.summary), evidence=text(one.evidence), cause=text(one.cause))
        certificate = None if one.certificate is None else self._hexadecimal(one.certificate)
        return replace(words, remedy=tuple(map(text, one.remedy)), places=tuple(map(text, one.places)), certificate=certificate)

    def _profiles(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name if self._texts.says_nothing(name) else self._given.one("profile", name) for name in names)

    def _hexadecimal(self, digits: str) -> str:
        return self._given.hexadecimal(digits) if digits else digits
