"""What libpq says of a connection string that it cannot read quotes parts of it: none of that is shown."""

import pytest

from probe.state.postgres import Postgres, Unreachable, make_schema

MALFORMED = [
    "postgresql://probe:canary@Horse7@127.0.0.1/probe", "postgresql://probe:canary/Horse7@127.0.0.1/probe",
    "postgres://probe:canary-Horse7", "postgresql://probe:canary?Horse7@127.0.0.1:1/probe", "mysql://probe:canary-Horse7@127.0.0.1/probe",
    "host=127.0.0.1 port=1 password=x canary-Horse7", "host=127.0.0.1 password='canary-Horse7", "canary-Horse7",
    "postgresql://probe:canary-Horse7@127.0.0.1:port/probe", "postgresql://probe:canary%zzHorse7@127.0.0.1/probe",
    "host=127.0.0.1 port=canary-Horse7 password=canary-Horse7",
]  # fmt: skip


@pytest.mark.parametrize("conninfo", MALFORMED)
def test_a_malformed_connection_string_shows_nothing_of_its_password(conninfo: str) -> None:
    with pytest.raises(Unreachable) as caught:
        make_schema(conninfo)
    said = str(caught.value)
    assert "canary" not in said and "Horse7" not in said and "\n" not in said and said.startswith("PostgreSQL: ")


@pytest.mark.parametrize(
    "conninfo",
    [
        "", "host=/run/postgresql dbname=probe", "postgresql:///probe?host=/run/postgresql", "postgresql://[::1]:5432/probe",
        "postgresql://probe:a%40b@one:5432,two/probe?sslmode=verify-full", "postgresql://probe@db/probe", "dbname='a b'",
    ],
)  # fmt: skip
def test_a_good_connection_string_is_taken(conninfo: str) -> None:
    Postgres(conninfo)
