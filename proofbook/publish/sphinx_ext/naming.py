"""A claim named in a sentence: ``{claim}`8823-C4```."""

from types import SimpleNamespace

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from proofbook.publish.sphinx_ext.base import badge, book_of, cross_reference, depend, disarmed

logger = logging.getLogger(__name__)

CLAIM_NOTE = "claim-note"
"""The class of what a named claim needs: its condition or correction, in its own words."""


class NamedClaim(SphinxRole):
    """The ID of a claim, which leads to its check, its verdict, and the condition or correction it needs.

    The condition is part of the sentence, for a screen reader and on paper; a screen shows it to who points
    at the claim or reaches it by keyboard (see proofbook.css). A claim that the book does not have is a
    warning, which stops a strict build.
    """

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        book = book_of(self.env.app)
        home = {claim["id"]: (page, claim) for page in book.pages.values() for claim in page.claims}
        if self.text not in home:
            depend(self.env, book)
            words = "{claim}`%s` names a claim that no cell of the book checks"
            logger.warning(words, self.text, location=self.get_location())
            return [nodes.literal("", self.rawtext)], []
        page, claim = home[self.text]
        depend(self.env, book, page.docname)
        name = nodes.inline("", claim["id"], classes=["std", "std-ref"])
        link = cross_reference(self.env, "ref", claim["anchor"].lower(), name)
        named = nodes.inline(
            "", "", link, nodes.Text(" "), badge(self.env, claim["verdict"]), classes=["named-claim"]
        )
        for word in ("condition", "correction"):
            if claim.get(word):
                named += self.note(f"{word.capitalize()}: {claim[word]}")
        return [named], []

    def note(self, text: str) -> nodes.Node:
        """What the claim needs, in brackets."""
        read = self.inliner
        memo = SimpleNamespace(document=read.document, reporter=read.reporter, language=read.language)
        parsed, _ = read.parse(" ".join(text.split()), self.lineno, memo, nodes.inline())
        words = [nodes.Text(" ("), *disarmed(parsed), nodes.Text(")")]
        return nodes.inline("", "", *words, classes=[CLAIM_NOTE])
