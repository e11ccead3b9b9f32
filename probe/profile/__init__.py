"""Profiles: the model, loading (parents, lines in errors, overlays), and where a secret comes from."""

from probe.profile.find import names
from probe.profile.layers import REMOVE, Overlay
from probe.profile.load import load, load_mapping, load_with_files
from probe.profile.model import KNOWN_MECHANISMS, NEEDS, Account, Profile, Reader, Submission, Tls
from probe.profile.oauth import TokenSource, resolve_token
from probe.profile.problem import Problem, ProfileError
from probe.profile.secret import SecretSource, resolve_secret
from probe.profile.show import effective
from probe.profile.table import Table
from probe.profile.values import Seconds

__all__ = [
    "KNOWN_MECHANISMS",
    "NEEDS",
    "REMOVE",
    "Account",
    "Overlay",
    "Problem",
    "Profile",
    "ProfileError",
    "Reader",
    "Seconds",
    "SecretSource",
    "Submission",
    "Table",
    "Tls",
    "TokenSource",
    "effective",
    "load",
    "load_mapping",
    "load_with_files",
    "names",
    "resolve_secret",
    "resolve_token",
]
