"""`make screenshots`: the HTML page of some recorded runs, as it looks in light, dark, at 560 px and on paper.

.venv/bin/python -m tests.output.screenshots [FOLDER] [NAME]...
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.output.browser import Browser
from tests.output.runs import told

LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"scheme": "dark"},
    "narrow": {"width": 560},
    "print": {"media": "print", "width": 760},
}
SHOWN = ("ok-exchange", "failed-smtp-certificate", "late-hops", "nodes", "hostile-greeting")


def main(folder: Path, names: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with Browser() as browser, tempfile.TemporaryDirectory() as temporary:
        for name in names:
            page = Path(temporary) / f"{name}.html"
            page.write_text(told("html", name), encoding="utf-8")
            for look, options in LOOKS.items():
                browser.open(page, **options)
                browser.screenshot(folder / f"{name}-{look}.png")
            browser.pdf(folder / f"{name}.pdf")
    print(f"{len(names) * len(LOOKS)} screenshots in {folder}")


if __name__ == "__main__":
    where, *chosen = [*sys.argv[1:], "screenshots"] if len(sys.argv) < 2 else sys.argv[1:]
    main(Path(where), tuple(chosen) or SHOWN)
