"""The reference covers every public name, every docstring says what a reader needs, sources are links."""

import importlib
import inspect
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
from built_site import build_by_command, lay_out, read

import attnlib
import attnlib.distributed
import attnlib.errors
import attnlib.theory
from proofbook.publish.api import link_sources, mark_sources
from proofbook.settings import Settings

ROOT = Path(__file__).parents[3]
CLAIMS = Settings.read(ROOT / "book").claims
THEORY = [f"attnlib.theory.{module.name}" for module in pkgutil.iter_modules(attnlib.theory.__path__)]
MODULES = [
    attnlib.scale,
    attnlib.sparsity,
    attnlib.axioms,
    attnlib.inspection,
    attnlib.distributed,
    attnlib.errors,
    *map(importlib.import_module, THEORY),
]


def public_names(module) -> list[str]:
    return getattr(module, "__all__", None) or [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    ]


def public() -> dict[str, object]:
    """Every function and class by the name a user writes; what the root offers goes by its short name."""
    found = {
        f"attnlib.{name}": getattr(attnlib, name)
        for name in attnlib.__all__
        if not inspect.ismodule(getattr(attnlib, name))
    }
    for module in MODULES:
        for name in public_names(module):
            thing = getattr(module, name)
            if not any(thing is known for known in found.values()):
                found[f"{module.__name__}.{name}"] = thing
    return found


PUBLIC = public()
ERRORS = {name: thing for name, thing in PUBLIC.items() if name.startswith("attnlib.errors.")}
DOCUMENTED = {name: thing for name, thing in PUBLIC.items() if name not in ERRORS}


def test_every_submodule_of_the_root_is_looked_at():
    offered = {getattr(attnlib, name) for name in attnlib.__all__ if inspect.ismodule(getattr(attnlib, name))}
    assert offered <= {*MODULES, attnlib.theory}
    assert len(PUBLIC) > 80 and len(ERRORS) == 6


def complaints(name: str, thing) -> list[str]:
    """What a docstring lacks. A class of results raises nothing; what it holds, it must say."""
    text = inspect.getdoc(thing) or ""
    lines = text.splitlines() or [""]
    found = []
    if not lines[0].rstrip().endswith((".", ":")) or len(lines) > 1 and lines[1]:
        found.append("a summary of one line, ended by a full stop")
    if not re.search(r"^>>> ", text, re.M):
        found.append("an example")
    if not re.search(r"\bSource: \S", text):
        found.append("its source")
    elsewhere = r"\b(?:as|are those) (?:for|of|in)? ?:func:|with its arguments|those of\s+:func:"
    if not re.search(rf"\(\.\.\.|[Ss]hape|[Tt]ensor|[Nn]umber|float64|n: visible keys|{elsewhere}", text):
        found.append("shapes, or that it takes numbers")
    if inspect.isfunction(thing) and not re.search(r"Raises|raises|[Ee]rrors|InvalidArgument", text):
        found.append("its errors")
    if "ntropy" in lines[0] and not re.search(rf"\bnats\b|{elsewhere}", text):
        found.append("the unit of an entropy")
    return found


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_docstring_says_what_a_reader_needs(name):
    assert complaints(name, DOCUMENTED[name]) == []


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_says_when_it_is_raised(name):
    assert (inspect.getdoc(ERRORS[name]) or "").splitlines()[0].endswith(".")


class Asked(set):
    """Remembers what was looked for."""

    def __contains__(self, anchor):
        self.add(anchor)
        return False


def test_every_claim_that_a_docstring_rests_on_is_in_the_book():
    files = (ROOT / "book/claims").glob("*.toml")
    listed = {f"claim-{name}".lower() for file in files for name in tomllib.loads(file.read_text())["claims"]}
    asked = Asked()
    for thing in DOCUMENTED.values():
        mark_sources(inspect.getdoc(thing).splitlines(), asked, CLAIMS)
    assert len(asked) > 40 and asked <= listed


def lacks_all(q):
    """Something"""


def test_a_poor_docstring_is_noticed():
    assert len(complaints("lacks_all", lacks_all)) == 5


SOURCES = {
    "8823-C4, C11 (kappa = 1 / 0.24), 9595-C5 and U14": (
        "8823-C4, :ref:`C11 <claim-8823-c11>` (kappa = 1 / 0.24), :ref:`9595-C5 <claim-9595-c5>` and "
        ":ref:`U14 <claim-u14>`"
    ),
    "C11 of no article, 18823-C11, U144": "C11 of no article, 18823-C11, U144",
}


@pytest.mark.parametrize("text, linked", SOURCES.items())
def test_claims_are_linked_where_the_book_has_them(text, linked):
    assert link_sources(text, {"claim-8823-c11", "claim-9595-c5", "claim-u14"}, CLAIMS) == linked


def test_a_source_ends_with_its_paragraph():
    lines = ["U1 before.", "", "Source: U1,", "U1.", "", "U1 after."]
    link = ":ref:`U1 <claim-u1>`"
    assert mark_sources(lines, {"claim-u1"}) == [*lines[:2], f"**Source:** {link},", f"{link}.", *lines[4:]]


TOC = """
  - caption: The library
    chapters:
      - file: book/use-it-on-your-model
      - file: book/api
      - file: book/api-theory
"""


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    root = lay_out(tmp_path_factory.mktemp("reference"))
    toc = root / "_toc.yml"
    toc.write_text(toc.read_text().rstrip("\n") + TOC)
    (root / "book/use-it-on-your-model.md").write_text("# The guide\n")
    return build_by_command(root)


@pytest.fixture(scope="module")
def anchors(html):
    pages = read(html, "book/api.html") + read(html, "book/api-theory.html")
    return re.findall(r'<dt class="sig[^"]*" id="([^"]+)"', pages)


def test_every_public_name_is_in_the_reference_once(anchors):
    assert {name: anchors.count(name) for name in PUBLIC} == dict.fromkeys(PUBLIC, 1)


def test_nothing_private_is_in_the_reference(anchors):
    members = {name for name in anchors if name.rpartition(".")[0] in PUBLIC}
    assert set(anchors) - members == set(PUBLIC)
    assert not any(part.startswith("_") for name in anchors for part in name.split("."))


def test_a_source_leads_to_its_claim(html):
    page = read(html, "book/api.html")
    entry = page[page.index('id="attnlib.scale.sqrt_d"') :]
    assert 'href="8823-attention-scale.html#claim-8823-c1"' in entry[: entry.index("</dd></dl>")]


def test_arguments_and_errors_are_lists_not_prose(html):
    page = read(html, "book/api.html")
    entry = page[page.index('id="attnlib.scale.log_n"') :]
    entry = entry[: entry.index("</dd></dl>")]
    for word in ("Parameters", "Raises"):
        assert re.search(rf'<dt class="field-\w+">{word}', entry)
    assert "Args:" not in page and "Raises:" not in re.sub("<[^>]*>Raises.*?</dt>", "", page)
