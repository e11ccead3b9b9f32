"""Certificates that live for 6, 45 and 90 days, as Let's Encrypt issues them, on real servers at each age. The dates stand in the
certificates: the servers do not look at them, and no clock has to be turned."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.scenarios.test_round_trip import Bench
from tests.servers.mail import MailServers
from tests.servers.pki import Authority

HOURS_OF_SIX_DAYS = 160.0


@pytest.mark.parametrize(
    ("days", "left", "severity"),
    [
        (HOURS_OF_SIX_DAYS / 24, 3.5, None),  # renewed at half of its life
        (HOURS_OF_SIX_DAYS / 24, 1.2, "warning"),
        (HOURS_OF_SIX_DAYS / 24, 0.4, "critical"),
        (45, 15.5, None),  # renewed at two thirds
        (45, 8, "warning"),
        (45, 3, "critical"),
        (90, 30, None),
        (90, 17, "warning"),
        (90, 6, "critical"),
    ],
)
def test_it_is_fine_while_it_is_fresh(
    authority: Authority, mail_servers: Callable[..., MailServers], tmp_path: Path, days: float, left: float, severity: str | None
) -> None:
    ends = datetime.now(UTC) + timedelta(days=left)
    leaf = authority.leaf(MailServers.fqdn, not_before=ends - timedelta(days=days), not_after=ends)
    bench = Bench(tmp_path, mail_servers(certificate=leaf))
    ran = bench.run(bench.profile(), "--light")
    found = {(item["id"], item["stage"], item["severity"]) for item in ran.report["findings"]}
    stages = [f"{leg}.certificate" for leg in ("smtp", "imap", "pop3")]
    assert found == ({("certificate.expires-soon", stage, severity) for stage in stages} if severity else set()), ran.printed
    lines = ran.report["thresholds"]["certificate_days"]
    assert lines == {"warning": pytest.approx(min(21, days * 0.2)), "critical": pytest.approx(min(7, days * 0.08))}
