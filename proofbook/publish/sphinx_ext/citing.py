"""How to cite a chapter, where to run it, and what this build ran with."""

from docutils import nodes

from proofbook.publish.citation import book_citation, chapter_citation
from proofbook.publish.downloads import hosted_cell
from proofbook.publish.sphinx_ext.base import BookDirective, duration, shown_name


class CiteChapter(BookDirective):
    """BibTeX and plain text for the chapter it stands in; on a page that is no notebook, for the book."""

    def run(self) -> list[nodes.Node]:
        page = self.book.page(self.chapter)
        edition, address = self.book.edition, self.book.address
        if page is None:
            bibtex, text = book_citation(edition, address)
        else:
            bibtex, text = chapter_citation(edition, address, docname=page.docname, title=page.title)
        return [
            nodes.paragraph("", text, classes=["citation-text"]),
            nodes.literal_block(bibtex, bibtex, language="bibtex", classes=["citation-bibtex"]),
        ]


class RunAnywhere(BookDirective):
    """How to run a chapter without setting anything up, where the book has an address to fetch it from."""

    def run(self) -> list[nodes.Node]:
        if not self.book.address.repository:
            return []
        words = "The rocket above each chapter opens it on Binder or Colab."
        code = hosted_cell(self.book)
        if not code:
            return [nodes.paragraph("", words)]
        return [
            nodes.paragraph("", f"{words} On Colab, run this in a cell of its own first:"),
            nodes.literal_block(code, code, language="none"),
        ]


class RunOn(BookDirective):
    """With what and for how long the notebooks ran for this build."""

    def run(self) -> list[nodes.Node]:
        self.depend()
        runs = self.book.runs
        if not runs:
            words = "This site was built from the outputs stored in the notebooks. What executes them, "
            command = nodes.literal("", "python -m proofbook book")
            end = nodes.Text(", fills in this table.")
            return [nodes.paragraph("", "", nodes.Text(words), command, end)]
        shown = ("python", *self.book.settings.outputs.show)
        rows = []
        for page in self.book.pages.values():
            run = runs[page.docname]
            rows.append(
                [
                    [self.link_to_page(page.docname, page.title)],
                    run["date"].replace("T", " ").rstrip("Z"),
                    duration(run["seconds"]),
                    *[run["versions"].get(name, "") for name in shown],
                ]
            )
        versions = [shown_name(name) for name in shown]
        return [self.table(["Chapter", "Ran (UTC)", "Time", *versions], rows, "runs")]
