"""Paper is light, whatever the reader's theme: in print the light theme's rules hold for the dark one too."""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from proofbook.files import write_whole

STYLES = "print.css"
LIGHT = re.compile(r'\[data-theme="?light"?\]')
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")


def connect(app: Sphinx) -> None:
    """Give pages a stylesheet for print."""
    app.add_css_file(STYLES, priority=900, media="print")
    app.connect("build-finished", _write, priority=900)  # after the theme has written its own


def _write(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    found = [mirrored(path.read_text(encoding="utf-8")) for path in sorted(static.rglob("*.css"))]
    write_whole(static / STYLES, "\n".join(filter(None, found)).encode())


def mirrored(styles: str) -> str:
    """The rules that a stylesheet has for the light theme, said of the dark one.

    >>> print(mirrored('html[data-theme="light"] .n { color: #080808 } html[data-theme="dark"] .n {top:0}'))
    html[data-theme="dark"] .n { color: #080808 }
    """
    rules = []
    for selectors, declared in RULE.findall(re.sub(r"/\*.*?\*/", "", styles, flags=re.S)):
        if LIGHT.search(selectors):
            dark = LIGHT.sub('[data-theme="dark"]', selectors.strip())
            rules.append(f"{dark} {{ {declared.strip()} }}")
    return "\n".join(rules)
