"""What the theme sends that no page needs: a script of 1.5 MB for a dozen icons, spans around plain code.

The script draws any icon of a large set. Its drawings of those that the pages show become a stylesheet.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]  # it carries no types
from pygments.token import Name, Operator, Punctuation, Whitespace  # type: ignore[import-untyped]  # nor this
from sphinx.application import Sphinx
from sphinx.highlighting import PygmentsBridge

from proofbook.files import write_whole

PLAIN = (Name, Punctuation, Operator, Whitespace)
ICONS = "icons.css"
SCRIPT = "scripts/fontawesome.js"
STYLES = """\
.fa-solid::before, .fas::before, .fa-brands::before, .fab::before, .fa-regular::before, .far::before {
  background-color: currentColor;
  content: "";
  display: inline-block;
  height: 1em;
  mask: var(--drawing, none) center / contain no-repeat;
  vertical-align: -0.125em;
  width: 1.1em;
}
"""


class PlainCode(HtmlFormatter):
    """Highlighted code without the spans around names, punctuation, blanks and signs, a third of them all.

    Names, punctuation and blanks have the colour of all code anyway, and signs need none of their own.
    """

    def _get_css_classes(self, ttype: Any) -> str:
        return "" if ttype in PLAIN else str(super()._get_css_classes(ttype))


def connect(app: Sphinx) -> None:
    """Take out of the built pages what they do not need."""
    PygmentsBridge.html_formatter = PlainCode
    app.add_css_file(ICONS)
    app.connect("build-finished", _draw_icons)


def _draw_icons(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    html = Path(app.outdir)
    script = html / "_static" / SCRIPT
    named: set[str] = set()
    for path in html.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        named.update(re.findall(r"(?<=\bfa-)[a-z0-9-]+", page))
        without = re.sub(r'\s*<script[^>]* src="[^"]*scripts/fontawesome\.js[^"]*"></script>', "", page)
        if without != page:
            write_whole(path, without.encode())
    # A build that wrote no page copies no assets, so that the script is gone already and the icons are there.
    if script.is_file():
        drawn = drawings(script.read_text(encoding="utf-8"), named)
        write_whole(html / "_static" / ICONS, (STYLES + drawn).encode())
        for file in (script, *script.parent.glob("fontawesome.js.*")):
            file.unlink()


def drawings(script: str, named: set[str]) -> str:
    """The styles of the icons of these names, from the script that has the drawings of all.

    >>> script = 'x={sun:[5,6,[9728],"f185","M0 9"],"moon":[1,2,[],"f186","M1"]}'
    >>> drawings(script, {"sun", "lg"}).count("--drawing")
    1
    """
    lines = []
    for name in sorted(named):
        # The set of solid icons, which the theme uses, comes last.
        *_, found = None, *re.finditer(rf'[{{",]{name}"?:\[(\d+),(\d+),\[[^\]]*\],"\w+","([^"]*)"\]', script)
        if found:
            picture = (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {found[1]} {found[2]}">'
                f'<path d="{found[3]}"/></svg>'
            )
            lines.append(
                f'.fa-{name} {{ --drawing: url("data:image/svg+xml,{quote(picture, safe="/:=")}"); }}'
            )
    return "\n".join(lines)
