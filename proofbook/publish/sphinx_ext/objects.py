"""What is attached to each claim and equation on its page: link, citation, source, what it rests on.

It is in the page, out of sight until its permalink is followed: so it costs nobody a tab stop, and needs no
script (see static/objects.css; static/objects.js makes it copy, and shows what a link to a claim leads to).
"""

import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from proofbook.ledger import schema
from proofbook.names import verdict_class
from proofbook.publish.objects import (
    CERTIFICATES,
    CLAIMS,
    EQUATIONS,
    ERRATA_VERDICTS,
    Object,
    Objects,
    citation,
    report,
)
from proofbook.publish.sphinx_ext.base import book_of
from proofbook.publish.sphinx_ext.dependencies import as_json
from proofbook.publish.sphinx_ext.html import HtmlOnly

REPORTING = "report-an-error"
"""The label in a book of the place that says how an error is reported, where there is no repository."""


def connect(app: Sphinx) -> None:
    """Attach what there is to say of a claim or an equation when its page is written."""
    app.add_css_file("objects.css")
    app.add_css_file("map.css")
    app.add_js_file("objects.js", loading_method="defer")
    app.connect("html-page-context", _add_scripts)
    app.connect("doctree-resolved", _attach)
    app.connect("env-get-updated", _whose_neighbours_changed, priority=900)
    app.connect("build-finished", _write_data)


def objects_of(app: Any) -> Objects:
    """The claims and equations of the book that is being built, gathered once a build."""
    if not hasattr(app, "proofbook_objects"):
        app.proofbook_objects = Objects(book_of(app))
    found: Objects = app.proofbook_objects
    return found


def number_of(env: Any, label: str) -> str | None:
    """The number of an equation on its page; None where no page shows it."""
    docname, number = env.get_domain("math").equations.get(label, (None, None))
    if docname is None:
        return None
    if env.config.math_numfig and env.config.numfig:
        numbers = env.toc_fignumbers.get(docname, {}).get("displaymath", {})
        return ".".join(map(str, numbers.get(f"equation-{label}", ()))) or None
    return str(number)


class Shown:
    """What a page says of the things of the book: their names, and links to them from that page."""

    def __init__(self, app: Any, docname: str):
        self.app, self.env, self.docname = app, app.env, docname
        self.objects = objects_of(app)

    def name(self, key: str) -> str:
        """A thing as it is called in a list: an equation by its number, a page by its title."""
        node = self.objects.nodes[key]
        if node["kind"] == "page":
            return self.title(key)
        if node["kind"] in ("claim", "lemma"):
            return key
        number = number_of(self.env, key)
        return f"({number})" if number else key

    def title(self, docname: str) -> str:
        """The title of a page."""
        title = self.env.titles.get(docname)
        return title.astext() if title is not None else docname

    def uri(self, key: str) -> str:
        """Where a thing is, from this page; an empty string where no page shows it."""
        node = self.objects.nodes[key]
        if node["kind"] == "page":
            return self.page(key)
        one = self.objects.all.get(key)
        return f"{self.page(one.page)}#{one.anchor}" if one else ""

    def page(self, docname: str) -> str:
        """Where a page is, from this one; an empty string for this one."""
        if docname == self.docname:
            return ""
        uri: str = self.app.builder.get_relative_uri(self.docname, docname)
        return uri

    def file(self, path: str) -> str:
        """Where a file is that lies at a path from the top of the site."""
        return "../" * self.docname.count("/") + path

    def link(self, key: str) -> str:
        """A thing as a link, or as a word where no page shows it."""
        name, uri = escape(self.name(key)), self.uri(key)
        node = self.objects.nodes[key]
        kind = f' class="verdict-mark {verdict_class(node["verdict"])}"' if node["kind"] == "claim" else ""
        if not uri and node["kind"] != "page":
            return f"<span>{name}</span>"
        return f'<a{kind} href="{escape(uri or "#")}">{name}</a>'

    def links(self, keys: list[str]) -> str:
        """Things as links, in one line."""
        return ", ".join(map(self.link, keys))

    def where(self, kind: str, key: str) -> str:
        """The place of a claim or an equation on the page of another kind; empty where there is no such page.

        Args:
            kind: What pages say they are, such as ``map`` (see ``declare``).
            key: The claim or equation.
        """
        for docname in sorted(self.env.found_docs):
            if self.env.metadata.get(docname, {}).get(f"proofbook-{kind}"):
                return f"{self.page(docname)}#{place(kind, key)}"
        return ""

    def how_to_report(self, one: Object) -> str:
        """Where an error is reported: an issue that is filled in, else the page that says how; or nowhere."""
        book = self.objects.book
        found = report(book.edition, book.address, one)
        if found:
            return found
        docname, anchor, *_ = self.env.get_domain("std").anonlabels.get(REPORTING, ("", ""))
        return f"{self.page(docname)}#{anchor}" if docname else ""


def place(kind: str, key: str) -> str:
    """The permanent name of a thing's place on the page of a kind.

    >>> place("map", "8823-C4"), place("map", "lemma: x >= 1")
    ('map-8823-c4', 'map-lemma-x-ge-1')
    """
    return nodes.make_id(f"{kind}-{key.replace('<=', ' le ').replace('>=', ' ge ')}")


def declare(env: Any, kind: str) -> None:
    """Let others know that the page that is being read is the one of a kind."""
    env.metadata[env.docname][f"proofbook-{kind}"] = "here"


FORM = "filter-form.js"
SCRIPTS = {"ledger": (FORM, "filter.js"), "errata": (FORM, "filter.js"), "map": (FORM, "map.js")}
"""The scripts that pages of a kind have beside those of every page, in the order in which they run."""


def _add_scripts(app: Any, docname: str, template: str, context: Any, doctree: Any) -> None:
    said = app.env.metadata.get(docname, {})
    for script in dict.fromkeys(
        name for kind, names in SCRIPTS.items() for name in names if f"proofbook-{kind}" in said
    ):
        app.add_js_file(script, loading_method="defer")


def panel(shown: Shown, one: Object) -> str:
    """What is attached to a claim or an equation, as HTML."""
    book = shown.objects.book
    claim = one.kind == "claim"
    name = f"Claim {one.key}" if claim else f"{one.kind.capitalize()} {shown.name(one.key)}"
    links = [("Permalink", shown.uri(one.key))]
    if not claim:
        words = "Certificate" if one.basis in ("proof", "both") else "Record"
        links.append((words, shown.file(f"{CERTIFICATES}/{one.key}.json")))
    links += [("In the map", shown.where("map", one.key))]
    if claim:
        links += [("In the ledger", shown.where("ledger", one.key))]
        if one.state in ERRATA_VERDICTS and book.source_of(one.record):
            links += [("In the errata", shown.where("errata", one.key))]
    links += [("Report an error", shown.how_to_report(one))]
    items = "".join(f'<li><a href="{escape(uri)}">{words}</a></li>' for words, uri in links if uri)
    ups, downs = shown.objects.rests_on.get(one.key, []), shown.objects.rest_on_it.get(one.key, [])
    code = "" if claim else f" <code>{escape(one.key)}</code>"
    lines = [
        f'<p class="object-name"><strong>{escape(name)}</strong>{code} · {escape(one.state)}</p>',
        f'<ul class="object-links">{items}</ul>',
        f"<p><b>Rests on</b> {shown.links(ups) or 'nothing that is shown here'}.</p>",
        f"<p><b>What rests on it:</b> {shown.links(downs) or 'nothing yet'}.</p>",
    ]
    if certificates := [up for up in ups if claim and up in shown.objects.all]:
        files = [
            f'<a href="{escape(shown.file(f"{CERTIFICATES}/{up}.json"))}">{escape(shown.name(up))}</a>'
            for up in certificates
        ]
        lines.append(f"<p><b>Certificates:</b> {', '.join(files)}.</p>")
    bibtex, text = citation(book.edition, book.address, one)
    lines += [
        f"<details><summary>Cite {escape(name)}</summary><p>{escape(text)}</p>",
        f"<pre>{escape(bibtex)}</pre></details>",
        f"<details><summary>TeX of {escape(name)}</summary><pre>{escape(one.tex)}</pre></details>",
    ]
    return (
        f'<div class="object-panel" data-anchor="{one.anchor}" role="group" aria-label="{escape(name)}" '
        f'data-pagefind-ignore="all">{"".join(lines)}</div>\n'
    )


def _on(app: Any, docname: str) -> dict[str, Object]:
    """The claims and equations that a page shows, by their permanent names on it."""
    page = book_of(app).original(docname)
    return {one.anchor: one for one in objects_of(app).all.values() if one.page == page}


def _attach(app: Any, doctree: nodes.document, docname: str) -> None:
    found = _on(app, docname)
    if not found or app.builder.format != "html":
        return
    shown = Shown(app, docname)
    for block in list(doctree.findall(nodes.math_block)):
        one = next((found[name] for name in block["ids"] if name in found), None)
        if one:
            block.parent.insert(block.parent.index(block) + 1, HtmlOnly(html=panel(shown, one)))
    for box in doctree.findall(nodes.admonition):
        one = next((found[name] for name in box["ids"] if name in found), None)
        if one:
            words = f"Link to claim {one.key}, its citation and what it rests on"
            link = f'<a class="headerlink" href="#{one.anchor}" title="{words}" aria-label="{words}">#</a>'
            title = box[0]
            assert isinstance(title, nodes.Element)
            title += HtmlOnly(html=link)
            box += HtmlOnly(html=panel(shown, one))


def _whose_neighbours_changed(app: Any, env: Any) -> list[str]:
    """The pages to write again because what is attached to their claims and equations has changed."""
    if app.builder.format != "html":
        return []
    before = getattr(env, "proofbook_panels", {})
    now = {}
    for docname in sorted({one.page for one in objects_of(app).all.values()} & env.found_docs):
        shown = Shown(app, docname)
        said = "".join(panel(shown, one) for one in _on(app, docname).values())
        now[docname] = hashlib.sha256(said.encode()).hexdigest()
    env.proofbook_panels = now
    return [docname for docname, digest in now.items() if before.get(docname, digest) != digest]


def _write_data(app: Any, exception: Exception | None) -> None:
    """Write claims and equations beside the pages, each with its schema."""
    if exception is not None or app.builder.format != "html":
        return
    site, objects = Path(app.outdir), objects_of(app)
    numbers = {key: number for key in objects.all if (number := number_of(app.env, key))}
    for name, data in ((CLAIMS, objects.claims()), (EQUATIONS, objects.equations(numbers))):
        as_json(site / name, data)
        stem = name.removesuffix(".json")
        as_json(site / f"{stem}.schema.json", json.loads(schema.read(stem, "proofbook.publish")))
