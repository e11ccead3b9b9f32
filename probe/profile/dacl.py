"""Who else may read a file on Windows: its access list, by what Windows itself says in SDDL. Elsewhere the mode says it.

https://learn.microsoft.com/windows/win32/secauthz/security-descriptor-string-format
"""

import re
import sys
from pathlib import Path

_FILE, _DACL, _REVISION = 1, 4, 1
# Everyone, authenticated users, users, anonymous, guests, interactive and network logons; a domain's users and guests.
_OTHERS = {
    "WD": "Everyone", "S-1-1-0": "Everyone", "AU": "Authenticated Users", "S-1-5-11": "Authenticated Users", "BU": "Users",
    "S-1-5-32-545": "Users", "AN": "Anonymous", "S-1-5-7": "Anonymous", "BG": "Guests", "S-1-5-32-546": "Guests",
    "IU": "Interactive", "S-1-5-4": "Interactive", "NU": "Network", "S-1-5-2": "Network",
    "DU": "Domain Users", "DG": "Domain Guests",
}  # fmt: skip
_READING = {"FA", "FR", "GA", "GR", "CC"}
_READ_BITS = 0x1 | 0x10000000 | 0x80000000  # FILE_READ_DATA, GENERIC_ALL, GENERIC_READ
_ENTRY = re.compile(r"\((X?A);([A-Z]*);([^;]*);[^;]*;[^;]*;([^;)]*)")


def other_reader(path: Path) -> str | None:
    """The first group of other people that may read the file, such as `Everyone`; None when there is none, when the list cannot be
    read, and on systems that are not Windows."""
    text = _sddl(path)
    return None if text is None else first_other(text)


def first_other(sddl: str) -> str | None:
    """The first such group in an access list. Entries that deny are not counted: whoever wrote them knows what they did."""
    if "D:" not in sddl or "NO_ACCESS_CONTROL" in sddl:
        return "Everyone"
    for _, flags, rights, who in _ENTRY.findall(sddl):
        inherit_only = "IO" in re.findall("..", flags)
        if not inherit_only and _reads(rights) and (name := _name(who)):
            return name
    return None


def _reads(rights: str) -> bool:
    if rights.startswith("0x"):
        return bool(int(rights, 16) & _READ_BITS)
    return bool(_READING & set(re.findall("..", rights)))


def _name(who: str) -> str | None:
    if re.fullmatch(r"S-1-5-21-[\d-]+-51[34]", who):
        return "Domain Users" if who.endswith("3") else "Domain Guests"
    return _OTHERS.get(who)


def _sddl(path: Path) -> str | None:
    """The file's access list (GetNamedSecurityInfoW, aclapi.h); None where there is none to be had."""
    if sys.platform != "win32":
        return None
    import ctypes

    advapi, kernel = ctypes.WinDLL("advapi32"), ctypes.WinDLL("kernel32")
    kernel.LocalFree.argtypes = [ctypes.c_void_p]
    descriptor, text = ctypes.c_void_p(), ctypes.c_void_p()
    wanted = (str(path), _FILE, _DACL, None, None, None, None, ctypes.byref(descriptor))
    if advapi.GetNamedSecurityInfoW(*wanted):
        return None
    try:
        convert = advapi.ConvertSecurityDescriptorToStringSecurityDescriptorW
        if not convert(descriptor, _REVISION, _DACL, ctypes.byref(text), None):
            return None
        return ctypes.wstring_at(text.value or 0) if text.value else None
    finally:
        kernel.LocalFree(text)
        kernel.LocalFree(descriptor)
