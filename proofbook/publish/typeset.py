"""Formulas set while the site is built, by KaTeX in one Node process: a page needs no script to show them.

Node, and how KaTeX comes into the environment, are `proofbook.publish.npm`'s.
"""

import base64
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from proofbook.files import write_whole
from proofbook.publish.notebooks import BookError
from proofbook.publish.npm import node, package

SCRIPT = Path(__file__).with_suffix(".js")
STYLES = "katex/katex.css"
"""Where a site has KaTeX's styles, below ``_static``; their fonts lie beside them."""
FONTS = "katex/fonts.js"
"""Where it has the fonts of nearly every page, for a script that runs before the page is there: a font that a
stylesheet brings comes later, and moves the text around formulas."""
ALWAYS = (
    ("KaTeX_Main-Regular", "KaTeX_Main", "normal"),
    ("KaTeX_Math-Italic", "KaTeX_Math", "italic"),
    ("KaTeX_Size1-Regular", "KaTeX_Size1", "normal"),
    ("KaTeX_Size2-Regular", "KaTeX_Size2", "normal"),
    ("KaTeX_Size3-Regular", "KaTeX_Size3", "normal"),
)
ADD = """for (const [family, style, text] of fonts) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  document.fonts.add(new FontFace(family, bytes, { style }));
}
"""


@dataclass(frozen=True)
class Formula:
    """A formula as HTML, with MathML for who listens; how wide it is whole, and its widest part that cannot
    break, in em."""

    html: str
    width: float
    widest: float


class TypesetError(ValueError):
    """KaTeX cannot set a formula; the text says what it says."""


class Typesetter:
    """Sets formulas, each once, in a process that lives until `close`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0
        self._known: dict[str, Formula] = {}

    def set(self, tex: str, *, relation: str = "", display: bool = False) -> Formula:
        """Set a formula.

        Args:
            tex: LaTeX, without dollars.
            relation: The sign that the line begins with, in LaTeX; no line breaks after it.
            display: As a display. A line can break at its relations and outer sums all the same, and within
                parentheses that no phone could show whole.

        Raises:
            TypesetError: KaTeX cannot read it.
            BookError: KaTeX is not there and cannot be fetched.
        """
        asked = json.dumps({"tex": tex, "relation": relation, "display": display})
        if asked not in self._known:
            process = self._running()
            assert process.stdin and process.stdout
            process.stdin.write(asked + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise BookError(f"the process that sets formulas ended at {tex!r}")
            answer = json.loads(line)
            if "error" in answer:
                raise TypesetError(answer["error"])
            self._known[asked] = Formula(**answer)
        return self._known[asked]

    def _running(self) -> subprocess.Popen[str]:
        # Sphinx may write pages in forks of its process; two of them cannot talk to one Node.
        if self._process is None or self._owner != os.getpid():
            command = [str(node()), str(SCRIPT), str(katex())]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8")
            self._owner = os.getpid()
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._owner == os.getpid():
            self._process.communicate()
        self._process = None


def katex() -> Path:
    """KaTeX's folder in this environment.

    Raises:
        BookError: it is not there and cannot be fetched.
    """
    return package("katex")


def copy_styles(static: Path) -> None:
    """Put KaTeX's styles and the fonts they name into a site's ``_static``."""
    source = katex() / "dist"
    # Each font is named in three formats; every browser that reads these pages takes the first.
    styles = re.sub(
        r',url\([^)]*\.(?:woff|ttf)\) format\("[^"]*"\)', "", (source / "katex.min.css").read_text("utf-8")
    )
    copies = {}
    for font in sorted((source / "fonts").glob("*.woff2")):
        content = font.read_bytes()
        copies[f"katex/fonts/{font.name}"] = content
    copies[STYLES] = styles.encode()
    begin = [
        [*said, base64.b64encode(copies[f"katex/fonts/{name}.woff2"]).decode()] for name, *said in ALWAYS
    ]
    copies[FONTS] = f"const fonts = {json.dumps(begin)};\n{ADD}".encode()
    for name, content in copies.items():
        copy = static / name
        if not (copy.is_file() and copy.read_bytes() == content):
            write_whole(copy, content)
