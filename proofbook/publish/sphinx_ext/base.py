"""What the directives share: the book, links into it, tables, and text that comes from data."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from proofbook.names import verdict_class
from proofbook.publish import followed
from proofbook.publish.book import RUNS_FILE, Book

Cell = str | nodes.Node | Sequence[nodes.Node]


def book_of(app: Any) -> Book:
    """The book that is being built, read once a build."""
    book: Book = app.proofbook_book
    return book


def files_of(book: Book, docname: str | None = None) -> list[Path]:
    """The files whose change makes a page stale that shows one chapter, or (None) the whole book."""
    notebooks = [book.root / path for path, page in book.pages.items() if docname in (None, page.docname)]
    settings = book.settings
    others = [book.root / RUNS_FILE, book.folder / settings.sources.file, book.folder / followed.FILE]
    return notebooks + [path for path in (*others, *book.claim_files, *book.data_files) if path.is_file()]


def depend(env: Any, book: Book, docname: str | None = None) -> None:
    """Build the page that is being read again when a chapter changes, or (None) any, or a file of data."""
    for path in files_of(book, docname):
        env.note_dependency(str(path))
    env.metadata[env.docname]["proofbook"] = "reads the book"


def cross_reference(env: Any, kind: str, target: str, words: nodes.Node) -> nodes.Node:
    """A link, still to be resolved, from the page that is being read to a target of the book."""
    link = addnodes.pending_xref(
        "",
        refdomain="std",
        reftype=kind,
        reftarget=target,
        refexplicit=True,
        refwarn=True,
        refdoc=env.docname,
    )
    link += words
    return link


class BookDirective(SphinxDirective):
    """A directive that reads the book and makes its page depend on what it read."""

    has_content = True

    @property
    def book(self) -> Book:
        """The book that is being built."""
        return book_of(self.env.app)

    @property
    def chapter(self) -> str:
        """The page that is being read, or the one that it is a translation of."""
        return self.book.original(self.env.docname)

    def depend(self, docname: str | None = None) -> None:
        """Build this page again when a chapter changes, or (None) any of them, or a file of data."""
        depend(self.env, self.book, docname)

    def markdown(self, text: str) -> list[nodes.Node]:
        """The nodes of a piece of Markdown that comes from data: HTML in it is shown, not obeyed."""
        return disarmed(self.parse_text_to_nodes(text))

    def inline(self, text: str) -> list[nodes.Node]:
        """The nodes of one line of Markdown that comes from data: no HTML and no directive works in it."""
        found, _ = self.state.inline_text(" ".join(text.split()), self.lineno)
        return disarmed(found)

    def paragraph(self, text: str, kind: str) -> nodes.paragraph:
        """A paragraph of Markdown of the CSS class `kind`."""
        return nodes.paragraph("", "", *self.inline(text), classes=[kind])

    def link_to_claim(self, claim: dict[str, Any], label: str | None = None) -> nodes.Node:
        """A link to the cell that checks a claim."""
        words = nodes.inline("", label or claim["id"], classes=["std", "std-ref"])
        return cross_reference(self.env, "ref", claim["anchor"].lower(), words)

    def link_to_page(self, docname: str, label: str) -> nodes.Node:
        """A link to a page of the book; the label is Markdown."""
        return cross_reference(self.env, "doc", f"/{docname}", nodes.inline("", "", *self.inline(label)))

    def link_outside(self, address: str, label: str) -> list[nodes.Node]:
        """A link to another site; an address that is none of the web is no link, whatever it would do."""
        words = self.inline(label)
        if not address.startswith(("https://", "http://")):
            return words
        return [nodes.reference("", "", *words, refuri=address)]

    def table(
        self,
        headings: Sequence[str],
        rows: Iterable[str | Sequence[Cell]],
        kind: str,
        *,
        stacks: bool = True,
    ) -> nodes.Node:
        """A table that turns into a stack of its cells on a narrow screen (see proofbook.css), or scrolls.

        A row that is a text stands across all columns, over the rows that follow.
        """
        table = nodes.table(classes=["book-table", kind] if stacks else [kind])
        group = nodes.tgroup(cols=len(headings))
        table += group
        group += [nodes.colspec(colwidth=1) for _ in headings]
        head, body = nodes.thead(), nodes.tbody()
        group += [head, body]
        head += nodes.row("", *[nodes.entry("", nodes.paragraph("", text)) for text in headings])
        for cells in rows:
            if isinstance(cells, str):
                title = nodes.paragraph("", "", nodes.strong("", cells))
                body += nodes.row("", nodes.entry("", title, morecols=len(headings) - 1))
            else:
                body += nodes.row("", *[nodes.entry("", *as_blocks(cell)) for cell in cells])
        return table


def disarmed(parsed: Iterable[nodes.Node]) -> list[nodes.Node]:
    """Nodes without raw HTML: what was some is shown as the text it was written as.

    >>> [node.astext() for node in disarmed([nodes.raw("", "<script>", format="html")])]
    ['<script>']
    """
    found: list[nodes.Node] = []
    for node in parsed:
        if isinstance(node, nodes.raw):
            found.append(nodes.inline("", node.astext()))
            continue
        for raw in list(node.findall(nodes.raw)):
            raw.parent.replace(raw, nodes.inline("", raw.astext()))
        found.append(node)
    return found


def as_blocks(content: Cell) -> list[nodes.Node]:
    """What a table cell may hold: blocks as they are, inline content in a paragraph, text as text."""
    if isinstance(content, str):
        return [nodes.paragraph("", content)]
    listed = [content] if isinstance(content, nodes.Node) else list(content)
    inline = (nodes.Inline, nodes.Text, addnodes.pending_xref)
    if listed and all(isinstance(node, inline) for node in listed):
        return [nodes.paragraph("", "", *listed)]
    return listed


def worded(env: Any, words: str) -> str:
    """What the machinery puts on the page that is being read, in the language of that page."""
    page = book_of(env.app).translations.get(env.docname)
    return page.text(words) if page else words


def badge(env: Any, verdict: str, number: int | None = None) -> nodes.Node:
    """A verdict as a coloured word, on the page that is being read, perhaps after how many claims have it."""
    counted = f"{number} " if number is not None else ""
    classes = ["verdict", verdict_class(verdict)]
    return nodes.inline("", f"{counted}{worded(env, verdict)}", classes=classes)


def shown_name(package: str) -> str:
    """The name of a package on a page: its own, but for that of the language."""
    return "Python" if package == "python" else package


def duration(seconds: float) -> str:
    """A duration as a reader would say it.

    >>> duration(8.23), duration(95.0), duration(8100.0)
    ('8.2 s', '1 min 35 s', '2 h 15 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(int(seconds), 60)
    return f"{minutes} min {left} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
