"""Pages in other languages: read beside the book's own, with the originals' numbers, names and links to them.

A translated page stands in no table of contents. It is read with labels of its own (see
`publish.translation`), which then go: on the page, a claim or an equation has the permanent name that it has
on the original, and the original's number.
"""

from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from proofbook.publish.book import Book
from proofbook.publish.sphinx_ext.base import book_of
from proofbook.publish.sphinx_ext.html import HtmlOnly
from proofbook.publish.sphinx_ext.naming import CLAIM_NOTE
from proofbook.publish.translation import UNTRANSLATED, TranslatedPage, name_of, tag

KEPT = ("claim-", "equation-", "fig-", "ex-", "sol-")
"""How the names begin that every translation of a page has, however far it has come."""


def connect(app: Sphinx) -> None:
    """Let the pages in, give them their numbers when the originals have theirs, and link them."""
    app.connect("config-inited", _let_in, priority=950)  # after the table of contents has shut out all else
    app.connect("doctree-read", _take_names, priority=400)  # before what reads the names of sections
    app.connect("env-get-updated", _read_anew, priority=950)
    app.connect("env-check-consistency", _take_numbers)
    app.connect("doctree-resolved", _lead_to_translations, priority=780)
    app.connect("doctree-resolved", _say_languages, priority=790)
    app.connect("html-page-context", _name_alternatives)


def _let_in(app: Any, config: Any) -> None:
    pages = {f"{name}{one.original.suffix}" for name, one in Book(Path(app.srcdir)).translations.items()}
    config.exclude_patterns = [pattern for pattern in config.exclude_patterns if pattern not in pages]


def _take_names(app: Any, doctree: nodes.document) -> None:
    env = app.env
    page = book_of(app).translations.get(env.docname)
    if page is None:
        return
    suffix = page.suffix
    for node in doctree.findall(nodes.Element):
        shared = [name.removesuffix(suffix) for name in node["ids"] if name.endswith(suffix)]
        if shared:  # those alone: a section has one of its translated heading, too, which is but a number
            node["ids"] = shared
        if isinstance(node, nodes.math_block) and node.get("label"):
            node["label"] = node["label"].removesuffix(suffix)
    for known in (env.get_domain("std").labels, env.get_domain("std").anonlabels):
        for label in [name for name in known if name.endswith(suffix) and known[name][0] == env.docname]:
            del known[label]
    equations = env.get_domain("math").equations
    for label in [name for name in equations if equations[name][0] == env.docname]:
        del equations[label]


def _read_anew(app: Any, env: Any) -> list[str]:
    """Every translated page: the numbers on it, and where it leads, are those of other pages."""
    return [name for name in book_of(app).translations if name in env.found_docs]


def _take_numbers(app: Any, env: Any) -> None:
    for docname, page in book_of(app).translations.items():
        original = page.original.with_suffix("").as_posix()
        env.toc_fignumbers[docname] = env.toc_fignumbers.get(original, {})
        # Headings have names of their own, and the order of the original's.
        numbers = env.toc_secnumbers.get(original, {})
        pairs = zip(_headings(env, docname), _headings(env, original))
        env.toc_secnumbers[docname] = {name: numbers[same] for name, same in pairs if same in numbers}
        # Exercises enter theirs after the page was read.
        for known in (env.get_domain("std").labels, env.get_domain("std").anonlabels):
            for label, (where, name, *title) in list(known.items()):
                if where == docname:
                    known[label] = (where, name.removesuffix(page.suffix), *title)


def _headings(env: Any, docname: str) -> list[str]:
    return [link["anchorname"] for link in env.tocs[docname].findall(nodes.reference)]


def _lead_to_translations(app: Any, doctree: nodes.document, docname: str) -> None:
    """On a translated page, let what leads to another page lead to its translation, where it has one."""
    book = book_of(app)
    page = book.translations.get(docname)
    if page is None or app.builder.format != "html":
        return
    here = {name for node in doctree.findall(nodes.Element) for name in node["ids"]}
    for other, one in book.translations.items():
        if one.language != page.language:
            continue
        original = app.builder.get_relative_uri(docname, one.original.with_suffix("").as_posix())
        place = "" if other == docname else app.builder.get_relative_uri(docname, other)
        for link in doctree.findall(nodes.reference):
            address, _, name = link.get("refuri", "").partition("#")
            name = name.removesuffix(one.suffix)
            shared = name in here if other == docname else name.startswith(KEPT)
            if address in (original, place) and address + name and (shared or not name and place):
                link["refuri"] = f"{place}#{name}" if name else place
        if other == docname:
            for link in doctree.findall(nodes.reference):
                if link.get("refid", "").endswith(page.suffix):
                    link["refid"] = link["refid"].removesuffix(page.suffix)


def _say_languages(app: Any, doctree: nodes.document, docname: str) -> None:
    """Link a page and its translations under its title; mark what is in the book's language on those."""
    book = book_of(app)
    others = _others(app, docname)
    if app.builder.format != "html" or not others:
        return
    if page := book.translations.get(docname):
        _mark_untranslated(doctree, app.config.language or "en", page)
    links = " · ".join(
        f'<a href="{escape(app.builder.get_relative_uri(docname, name))}" lang="{language}" '
        f'hreflang="{language}" rel="alternate">{escape(words)}</a>'
        for name, language, words in others
    )
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is not None:
        switch = HtmlOnly(html=f'<nav class="languages" aria-label="Languages">{links}</nav>\n')
        title.parent.insert(title.parent.index(title) + 1, switch)


def _mark_untranslated(doctree: nodes.document, language: str, page: TranslatedPage) -> None:
    for box in doctree.findall(nodes.container):
        if {"cell", UNTRANSLATED} & set(box["classes"]):
            box["classes"].append(f"language-{language}")
            for caption in box.findall(nodes.caption):
                caption["classes"].append(f"language-{page.language}")
    for note in doctree.findall(nodes.inline):
        if CLAIM_NOTE in note["classes"]:
            note["classes"].append(f"language-{language}")


def _others(app: Any, docname: str) -> list[tuple[str, str, str]]:
    """The same page in other languages: its name, its language, and what that calls itself."""
    book = book_of(app)
    own = app.config.language or "en"
    original = book.original(docname)
    found = {original: own}
    for name, one in book.translations.items():
        if book.original(name) == original:
            found[name] = one.locale
    return [
        (name, tag(locale), name_of(locale))
        for name, locale in found.items()
        if name != docname and len(found) > 1
    ]


def _name_alternatives(app: Any, docname: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if doctree is None:
        return
    links = [
        f'<link rel="alternate" hreflang="{language}" href="{escape(context["pathto"](name))}" />\n'
        for name, language, _ in _others(app, docname)
    ]
    context["metatags"] = (context.get("metatags") or "") + "".join(links)
