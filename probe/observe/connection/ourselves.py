"""What this machine calls itself, asked without the network and without Windows' WMI, which may take seconds."""

import socket
import sys

_DNS_FULLY_QUALIFIED = 3  # ComputerNameDnsFullyQualified (COMPUTER_NAME_FORMAT, sysinfoapi.h)


def machine_name() -> str:
    """The name of this machine, for people: its host name, with its domain where the system gives both together."""
    return socket.gethostname()


def full_name() -> str | None:
    """This machine's fully qualified name, or None where it has none. Never asks DNS, which may be slow or silent."""
    # For EHLO: letters, digits and hyphens only (RFC 5321 section 4.1.2); Windows lets a computer's name have `_`.
    name = (_windows_name() if sys.platform == "win32" else machine_name()).lower().rstrip(".")
    return name if "." in name and name.isascii() and name.replace(".", "").replace("-", "").isalnum() else None


def _windows_name() -> str:
    """GetComputerNameExW (sysinfoapi.h): host name and primary DNS suffix; socket.gethostname gives the first alone."""
    if sys.platform != "win32":
        return ""
    import ctypes

    buffer = ctypes.create_unicode_buffer(1024)
    size = ctypes.c_ulong(len(buffer))
    done = ctypes.windll.kernel32.GetComputerNameExW(_DNS_FULLY_QUALIFIED, buffer, ctypes.byref(size))
    return buffer.value if done else ""
