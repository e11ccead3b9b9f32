"""Where a profile has its secrets from, in words."""

from probe.profile.model import Profile


def secret_of(profile: Profile, leg: str) -> str:
    """Such as `password came from file pw (--password-file)`; empty where there is none. Never the secret."""
    reader = profile.readers.get(leg)
    account = profile.account if reader is None else profile.account_for(reader)
    key = "password" if account.password else "token"
    source, named = account.password or account.token, profile._doubts.named
    own, shared = ("readback", leg, "account", key), ("account", key)
    path = own if own in named else shared
    return f"{key} came from {source} ({named.get(path) or '.'.join(path)})" if source else ""
