"""What was agreed on in a handshake, graded."""

import pytest

from probe.facts import Secured
from probe.judge.starttls import judge
from probe.profile import load_mapping
from probe.record import Record, StageRecord, Target
from probe.tasks.plan import plugins


@pytest.mark.parametrize(
    ("version", "cipher", "severity"),
    [
        ("TLSv1.3", "TLS_AES_256_GCM_SHA384", None),
        ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256", None),
        ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", None),
        ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305", None),
        ("TLSv1.2", "DHE-RSA-AES256-GCM-SHA384", None),
        ("TLSv1.2", "ECDHE-RSA-AES256-SHA384", "info"),
        ("TLSv1.2", "ECDHE-RSA-AES128-SHA", "info"),
        ("TLSv1.2", "AES256-GCM-SHA384", "warning"),
        ("TLSv1.2", "AES128-SHA", "warning"),
        ("TLSv1.1", "ECDHE-RSA-AES128-SHA", "warning"),
        ("TLSv1", "AES128-SHA", "warning"),
        ("TLSv1.2", "ECDHE-RSA-RC4-SHA", "critical"),
        ("TLSv1.2", "DES-CBC3-SHA", "critical"),
        ("TLSv1.2", "ECDHE-RSA-NULL-SHA", "critical"),
        ("TLSv1.2", "ADH-AES128-SHA", "critical"),
    ],
)
def test_grade(version: str, cipher: str, severity: str | None) -> None:
    profile = load_mapping(
        {"submission": {"host": "mail.contoso.test"}, "account": {"username": "p@contoso.test", "password": {"env": "X"}}},
        plugins=plugins(),
    )
    stage = StageRecord("smtp.starttls", "ok", facts=Secured(version=version, cipher=cipher))
    record = Record("id", "p", Target("mail.contoso.test", 587, "starttls"), "2026-01-01T00:00:00Z", 0.0, (stage,))
    found = [(finding.id, finding.severity) for finding in judge(record, profile)]
    assert found == ([] if severity is None else [("tls.weak", severity)])
