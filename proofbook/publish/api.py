"""A library's reference from its docstrings: the claims they name become links to their checks."""

import re
from collections.abc import Container

from proofbook.names import claim_anchor
from proofbook.settings import Claims

_SOURCE = re.compile(r"^(?P<before>.*?)\bSource: (?P<sources>.*)$")
_WORD = re.compile(r"\b[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\b")


def link_sources(text: str, anchors: Container[str], form: Claims = Claims()) -> str:
    """The claims named in one paragraph as reStructuredText links, where they are among `anchors`.

    A claim without its source, as in ``8823-C4, C11``, is one of the source named before it, unless the book
    itself has a claim of that name.

    Args:
        text: The paragraph.
        anchors: The anchors of the claims that the book has checked.
        form: The form of this book's claims.

    >>> link_sources("8823-C4, C11 and U3.", {"claim-8823-c11", "claim-u3"})
    '8823-C4, :ref:`C11 <claim-8823-c11>` and :ref:`U3 <claim-u3>`.'
    """
    source = ""

    def link(match: re.Match[str]) -> str:
        nonlocal source
        word = match[0]
        source = form.source(word) or source
        for claim in (word, f"{source}-{word}") if source else (word,):
            if form.fits(claim) and claim_anchor(claim) in anchors:
                return f":ref:`{word} <{claim_anchor(claim)}>`"
        return word

    return _WORD.sub(link, text)


def mark_sources(lines: list[str], anchors: Container[str], form: Claims = Claims()) -> list[str]:
    """A docstring's lines with its ``Source:`` set off in bold and its claims linked.

    >>> mark_sources(["Exact in d. Source: U1.", "", ">>> 1"], set())
    ['Exact in d. **Source:** U1.', '', '>>> 1']
    """
    marked: list[str] = []
    inside = False
    for line in lines:
        source = _SOURCE.match(line)
        inside = bool(source) or (inside and bool(line.strip()))
        if source:
            line = f"{source['before']}**Source:** {link_sources(source['sources'], anchors, form)}"
        elif inside:
            line = link_sources(line, anchors, form)
        marked.append(line)
    return marked
