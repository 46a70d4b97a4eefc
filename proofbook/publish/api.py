"""The reference of attnlib from its docstrings: sources become links to the cells that check them."""

import re

_SOURCE = re.compile(r"^(?P<before>.*?)\bSource: (?P<sources>.*)$")
_CLAIM = re.compile(r"\b(?:(?P<article>\d{4})-)?(?P<kind>[CU])(?P<number>\d+)\b")


def link_sources(text: str, anchors: set[str]) -> str:
    """The claims named in one paragraph as reStructuredText links, where they are among ``anchors``.

    A number without its article, as in ``8823-C4, C11``, belongs to the article named before it.

    >>> link_sources("8823-C4, C11 and U3.", {"claim-8823-c11", "claim-u3"})
    '8823-C4, :ref:`C11 <claim-8823-c11>` and :ref:`U3 <claim-u3>`.'
    """
    article = None

    def link(match: re.Match) -> str:
        nonlocal article
        if match["kind"] == "C":
            article = match["article"] or article
        prefix = f"{article}-" if match["kind"] == "C" else ""
        anchor = f"claim-{prefix}{match['kind']}{match['number']}".lower()
        return f":ref:`{match[0]} <{anchor}>`" if anchor in anchors else match[0]

    return _CLAIM.sub(link, text)


def mark_sources(lines: list[str], anchors: set[str]) -> list[str]:
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
            line = f"{source['before']}**Source:** {link_sources(source['sources'], anchors)}"
        elif inside:
            line = link_sources(line, anchors)
        marked.append(line)
    return marked
