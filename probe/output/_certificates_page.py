"""The certificates of many servers as one page: no script, no network, escaped like the page of a run (html.py)."""

from pathlib import Path

from probe.output._certificates import day, headline, issuer_of, moment
from probe.output.html import environment, policy, verbatim
from probe.report.fleet import Certificate, Fleet
from probe.version import __version__

_FOLDER = Path(__file__).parent
_WORDS = {"ok": "OK", "warning": "Warning", "critical": "Critical", "unknown": "Unknown"}


def page(fleet: Fleet) -> str:
    """The whole page: each certificate with its bar of life and its ports, what was not seen, what was renewed, what is wrong."""
    style = "".join((_FOLDER / name).read_text(encoding="utf-8") for name in ("_page.css", "_certificates.css"))
    rows = [(one, _width(one)) for one in fleet.certificates]
    shown = {"fleet": fleet, "rows": rows, "headline": headline(fleet).partition("  ")[2], "words": _WORDS, "version": __version__}
    template = environment(_FOLDER).get_template("_certificates.html")
    made = template.render(policy=policy(style), style=verbatim(style), day=day, moment=moment, issuer=issuer_of, **shown)
    return made.encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def _width(one: Certificate) -> float:
    """How much of its life is left, of 100."""
    return round((one.share_left or 0.0) * 100, 1)
