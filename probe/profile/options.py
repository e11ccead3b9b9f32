"""Options of `probe run` and of `probe.run`, as overlays on a profile: one list for the command line and the library."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence

from probe.profile import REMOVE, Overlay, Problem, ProfileError

# Option → the profile's key; the option's value is the key's.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "host": ("submission", "host"),
    "port": ("submission", "port"),
    "security": ("submission", "security"),
    "user": ("account", "username"),
    "timeout": ("limits", "timeout"),
    "ca_file": ("tls", "ca_file"),
    "connect": ("submission", "connect"),
    "blame": ("blame",),
    "size": ("message", "size"),
    "give_up_after": ("limits", "lost_after"),
}
_READERS = {"both": ("imap", "pop3"), "none": ()}


def overlays(options: Mapping[str, object], readers: Sequence[str] = ("imap", "pop3")) -> list[Overlay]:
    """Turn options (`None` = not given) into overlays, in the order in which later ones win.

    Knows: host, port, security, user, timeout, ca_file, connect, blame, size, give_up_after, password_env, password_file,
    readback, trust_any_certificate, every_address, set (`section.key=value` texts). Raises ProfileError for a readback or a `set`
    that makes no sense; values are checked with the profile.
    """
    made = [Overlay(_flag(name), path, options[name]) for name, path in _KEYS.items() if options.get(name) is not None]
    if options.get("password_env") is not None:
        made.append(Overlay("--password-env", ("account", "password"), {"env": options["password_env"]}))
    if options.get("password_file") is not None:
        made.append(Overlay("--password-file", ("account", "password"), {"file": str(options["password_file"])}))
    if options.get("trust_any_certificate"):
        made.append(Overlay("--trust-any-certificate", ("tls", "trust_any_certificate"), True))
    if options.get("every_address"):
        made.append(Overlay("--every-address", ("submission", "every_address"), "logon"))
    if options.get("readback") is not None:
        made += _readback(str(options["readback"]), readers)
    return made + [_set(text) for text in _texts(options.get("set"))]


def _texts(given: object) -> Iterable[str]:
    return given if isinstance(given, (list, tuple)) else ()


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _readback(choice: str, readers: Sequence[str]) -> Iterable[Overlay]:
    """`choice`: one reader, `both` (imap and pop3) or `none`; `readers`: all there are."""
    if choice not in (*readers, *_READERS):
        text = f"expected {', '.join(readers)}, both or none, got {choice!r}"
        raise ProfileError(Problem(None, None, "--readback", text))
    for name in readers:
        if name in _READERS.get(choice, (choice,)):
            yield Overlay("--readback", ("readback", name), {})
        else:
            yield Overlay("--readback", ("readback", name), REMOVE)


def _set(text: str) -> Overlay:
    """`section.key=value`: the value as TOML, or as plain text where it is no TOML."""
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or len(path) < 2 or not all(path):
        # The value may be anything, a password included: it is not echoed.
        raise ProfileError(Problem(None, None, "--set", f"expected section.key=value, got {key.strip()!r}"))
    return Overlay(f"--set {key.strip()}", path, _value(value.strip()))


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
