"""The page of lemmas: every name in the kernel stands there, proved without itself or proved in words."""

import ast
import json
import re
from pathlib import Path

import pytest

from proofbook.derive.kernel import LEMMAS

ROOT = Path(__file__).parents[2]
CELLS = json.loads((ROOT / "book/lemmas.ipynb").read_text(encoding="utf-8"))["cells"]
SOURCES = [(cell["cell_type"], "".join(cell["source"])) for cell in CELLS]
(WORDS,) = (text for kind, text in SOURCES if kind == "markdown" and "## In words" in text)
KNOWN_AT_FIRST = {"each term is at most the maximum", "the logarithm is increasing"}
"""What says what a word means, or that the logarithm increases, which every proof without lemmas may use."""


def names_in(text: str) -> set[str]:
    return {name for name in re.findall(r"`([^`]+)`", text.replace("\n", " ")) if name in LEMMAS}


def introduced() -> list[tuple[set[str], list[str]]]:
    """Lemmas that a cell names, with the code up to the next one; a lemma is where it is named first."""
    found: list[tuple[set[str], list[str]]] = []
    seen = names_in(WORDS)
    for kind, text in SOURCES:
        if kind == "markdown":
            found.append((names_in(text) - seen, []))
            seen |= found[-1][0]
        elif found:
            found[-1][1].append(text)
    return [(names, code) for names, code in found if names]


def test_every_lemma_stands_on_the_page():
    listed, shown = names_in(WORDS), set().union(*(names for names, _ in introduced()))
    assert listed | shown == LEMMAS and not listed & shown
    assert len(shown) > len(listed) > 0


def test_every_proof_on_the_page_says_what_it_is_given():
    code = "\n".join(text for kind, text in SOURCES if kind == "code")
    assert code.count("Derivation(\n") == code.count("without=LEMMAS") > 20


@pytest.mark.parametrize("names, code", introduced(), ids=lambda part: min(part) if part else "")
def test_none_is_given_to_its_own_proof_nor_to_one_above(names, code):
    """What a proof may use has been shown in an earlier cell, or is listed in words."""
    assert any("without=LEMMAS" in text for text in code)
    place = [one for one, _ in introduced()].index(names)
    earlier = set().union(*(one for one, _ in introduced()[:place]), KNOWN_AT_FIRST)
    assert given(code) <= earlier


def given(code: list[str]) -> set[str]:
    """The lemmas that are named in code other than to be set aside: ``LEMMAS - above`` gives those above."""
    texts = [
        node.value for text in code for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)
    ]
    return {text for text in texts if text in LEMMAS}


def test_the_places_in_the_source_are_right():
    for line in re.split(r"\n- ", WORDS)[1:]:
        (module,) = re.findall(r"`kernel/(\w+\.py)`", line)
        source = (ROOT / "proofbook/derive/kernel" / module).read_text(encoding="utf-8")
        for name in names_in(line):
            assert f'"{name}"' in source or f'"{{name}}{name[3:]}"' in source, name
