"""What a run logs on with and ends some day: our own certificates, and the day that expect.secret_expires gives."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from probe.profile import Profile
from probe.record import Lasting
from probe.tasks.plan import Plan


def lasting(plan: Plan, profile: Profile) -> tuple[Lasting, ...]:
    """Each once. A file that cannot be read is left out: whoever needs it says what is wrong with it."""
    files = {f"tls.client_certificate ({side.client_certificate})": side.client_certificate for side in plan.sides}
    accounts = (profile.account, *(profile.account_for(reader) for reader in profile.readers.values()))
    signing = (account.token.oauth.client_certificate for account in accounts if account.token and account.token.oauth)
    files |= {f"account.token.oauth.client_certificate ({file})": str(file) for file in signing if file}
    found = [*(one for whose, file in files.items() if file for one in _of_file(whose, file))]
    if day := profile.expect.secret_expires:
        found.append(Lasting("expect.secret_expires", f"{day}T00:00:00Z"))
    return tuple(found)


def _of_file(whose: str, file: str) -> Iterator[Lasting]:
    """The first certificate in the file, which is our own."""
    from cryptography import x509  # for the few profiles that have one

    from probe.profile import textfile

    try:
        own = x509.load_pem_x509_certificate(textfile.read(Path(file)).encode())
    except (ValueError, OSError):
        return
    yield Lasting(whose, _instant(own.not_valid_after_utc), _instant(own.not_valid_before_utc))


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
