"""What a page owes to those who do not see it whole: names of folds and chapters, languages, unique IDs."""

import ast
import re
from typing import Any

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode  # type: ignore[import-untyped]  # it carries no types
from sphinx.application import Sphinx

from proofbook.publish.sphinx_ext.base import book_of

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_SIGNS = r"\u3000-\u303f\uff00-\uffef"
_OWN_SCRIPT = {"zh": re.compile(rf"[{_HAN}](?:[^\s{_HAN}{_SIGNS}]*[{_HAN}{_SIGNS}])*")}
"""What is written in a language that has a script of its own, as far as it can be told from a text."""


def connect(app: Sphinx) -> None:
    """Change a page when it has been read (the sidebar) and when it is about to be written (all else)."""
    app.add_js_file("folds.js", loading_method="defer")
    app.add_js_file("stops.js", loading_method="defer")
    app.connect("doctree-read", _name_in_sidebar, priority=900)
    app.connect("doctree-resolved", _make_readable, priority=800)
    app.connect("html-page-context", _mend_roles)
    app.connect("html-page-context", _say_language)


def _name_in_sidebar(app: Any, doctree: nodes.document) -> None:
    """Put the key of the source that a chapter is on, which its claims have too, before its title there.

    A title in the sources' language says so there, too, and on the way to the next page.
    """
    env, book = app.env, book_of(app)
    page, settings = book.page(env.docname), book.settings.sources
    source = page.card.get(settings.one) if page and page.card else None
    toc = env.tocs[env.docname]
    title = next(iter(toc.findall(nodes.reference)), None)
    if source and title is not None and source not in title.astext():
        title.insert(0, nodes.Text(f"{source} · "))
    if settings.language in _OWN_SCRIPT:
        mark_language(toc, settings.language)
        mark_language(env.titles[env.docname], settings.language)


def _make_readable(app: Any, doctree: nodes.document, docname: str) -> None:
    language = book_of(app).settings.sources.language
    own = app.env.metadata[docname].get("lang", "").partition("-")[0]
    if language in _OWN_SCRIPT and language != own:
        mark_language(doctree, language)
    name_folds(doctree)
    tell_apart(doctree)
    for work in doctree.findall(nodes.citation):
        work["backrefs"] = []  # dozens of links on numbers; a browser's way back leads to the sentence


def mark_language(doctree: nodes.Element, language: str) -> None:
    """Mark what stands in the script of a language as that language, so that it is read aloud as such."""
    for text in list(doctree.findall(nodes.Text)):
        kept = (nodes.literal_block, nodes.literal, nodes.math, nodes.math_block, nodes.raw, nodes.comment)
        pieces = list(_OWN_SCRIPT[language].finditer(text))
        if not pieces or any(isinstance(parent, kept) for parent in _parents(text)):
            continue
        found: list[nodes.Node] = []
        end = 0
        for piece in pieces:
            found.append(nodes.Text(text[end : piece.start()]))
            found.append(nodes.inline("", piece[0], classes=[f"language-{language}"]))
            end = piece.end()
        found.append(nodes.Text(text[end:]))
        text.parent.replace(text, [node for node in found if node.astext()])


def _parents(node: nodes.Node) -> Any:
    while (parent := node.parent) is not None:
        yield parent
        node = parent


def name_folds(doctree: nodes.Element) -> None:
    """Let each fold over code say what it hides: the check of which claim, which derivation, imports."""
    for fold in doctree.findall(HideCodeCellNode):
        if fold["prompt_show"] == "Show code cell source":
            name = hidden(fold)
            fold["prompt_show"], fold["prompt_hide"] = f"Show {name}", f"Hide {name}"


def hidden(fold: nodes.Element) -> str:
    """What the fold over a cell's code hides, in words, by what the cell shows below it."""
    cell = fold.parent
    claims = [
        box["ids"][0].removeprefix("claim-").upper()
        for box in cell.findall(nodes.admonition)
        if "claim" in box["classes"] and box["ids"]
    ]
    if claims:
        return f"the check of {_few(claims)}"
    labels = [
        name.removeprefix("equation-")
        for block in cell.findall(nodes.math_block)
        for name in block["ids"]
        if name.startswith("equation-")
    ]
    if labels:
        return f"the derivation of {_few(labels)}"
    if next(iter(cell.findall(nodes.figure)), None) is not None:
        return "the code of the figure"
    if next(iter(cell.findall(nodes.table)), None) is not None:
        return "the code of the table"
    code = "\n".join(block.astext() for block in fold.findall(nodes.literal_block))
    return _code(code)


def _few(names: list[str]) -> str:
    """Names as a list, of which a long one is cut."""
    if len(names) > 3:
        return f"{', '.join(names[:2])} and {len(names) - 2} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _code(source: str) -> str:
    """What code does, as far as its statements say so.

    >>> _code("import sympy as sp"), _code("def f(x):\\n    return x"), _code("print(1)")
    ('the imports', 'the code of f', 'the code')
    """
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return "the code"
    made = [one.name for one in body if isinstance(one, (ast.FunctionDef, ast.ClassDef))]
    if made:
        return f"the code of {_few(made)}"
    imports = [one for one in body if isinstance(one, (ast.Import, ast.ImportFrom))]
    return "the imports" if imports and len(imports) >= len(body) / 2 else "the code"


def tell_apart(doctree: nodes.Element) -> None:
    """Give each section of a kind that stands on a page more than once an ID of its own."""
    seen: set[str] = set()
    for section in doctree.findall(nodes.section):
        for k, name in enumerate(section["ids"]):
            box = section.parent
            if name in seen and isinstance(box, nodes.Element) and box.get("ids"):
                section["ids"][k] = f"{box['ids'][0]}-{name}"
            seen.add(section["ids"][k])


def _mend_roles(app: Any, docname: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Mend what is said to assistive technology: one name for all folds, items of a list that are none."""
    if body := context.get("body"):
        body = body.replace('<summary aria-label="Toggle hidden content">', "<summary>")
        context["body"] = body.replace('role="doc-biblioentry"', 'role="listitem"')


def _say_language(app: Any, docname: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Let a page whose front matter says ``lang`` be in that language as a whole."""
    if language := app.env.metadata.get(docname, {}).get("lang"):
        context["language"] = language
