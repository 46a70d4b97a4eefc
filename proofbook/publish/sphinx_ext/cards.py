"""What a chapter opens with, and the list of what the book works from."""

from typing import Any

from docutils import nodes

from proofbook.publish.notebooks import parse_card
from proofbook.publish.prose import with_numbers
from proofbook.publish.sphinx_ext.base import BookDirective, badge, duration, shown_name, worded
from proofbook.publish.sphinx_ext.claims import counted, tally
from proofbook.publish.translation import OURS, RAN, RECORDED, SKILLS


class ChapterCard(BookDirective):
    """What the chapter is about, what its reader will be able to do, and how its claims came out."""

    def run(self) -> list[nodes.Node]:
        self.depend(self.chapter)
        settings = self.book.settings.sources
        card = parse_card("\n".join(self.content), self.env.docname, settings)
        page = self.book.page(self.chapter)
        box = nodes.container(classes=["chapter-card"])
        if source := card.get(settings.one):
            kind = worded(self.env, settings.one.capitalize())
            named = nodes.Text(f"{kind} {source} · {card['date']} · ")
            link = self.link_outside(card["link"], card[settings.original or settings.title])
            box += nodes.paragraph("", "", named, *link, classes=["card-source"])
            if settings.original:
                box += nodes.paragraph("", card[settings.title], classes=["card-title"])
        box += self.paragraph(card["verdict"], "card-verdict")
        box += nodes.paragraph("", worded(self.env, SKILLS), classes=["card-can"])
        skills = [nodes.paragraph("", "", *self.inline(item)) for item in card["can"]]
        box += nodes.bullet_list("", *[nodes.list_item("", skill) for skill in skills])
        claims = page.claims if page else []
        box += self.verdicts([claim for claim in claims if claim["id"] not in self.book.own_claims])
        ours = [claim for claim in claims if claim["id"] in self.book.own_claims]
        box += self.verdicts(ours, f"{worded(self.env, OURS)} ")
        if ran := self.run_time():
            box += nodes.paragraph("", ran, classes=["card-run"])
        return [box]

    def verdicts(self, claims: list[dict[str, Any]], whose: str = "") -> list[nodes.Node]:
        """A line for each verdict that occurs, with links to the claims that have it."""
        lines: list[nodes.Node] = []
        for verdict, number in counted(claims):
            line = nodes.paragraph(classes=["card-claims"])
            line += [nodes.Text(whose), badge(self.env, verdict, number), nodes.Text(" ")]
            for claim in claims:
                if claim["verdict"] == verdict:
                    line += [self.link_to_claim(claim, claim["id"].split("-")[-1]), nodes.Text(" ")]
            lines.append(line)
        return lines

    def run_time(self) -> str | None:
        """How long the chapter ran for this build, else, for stored outputs, in a run on record; or None."""
        run = self.book.runs.get(self.chapter)
        if run:
            shown = self.book.settings.outputs.show or ("python",)
            versions = [f"{shown_name(name)} {run['versions'].get(name, 'absent')}" for name in shown]
            seconds = duration(run["seconds"])
            said = {"time": seconds, "programs": ", ".join(versions)}
            return self.filled_in(RAN, said)
        name = self.chapter.rsplit("/", 1)[-1]
        for recorded in self.book.recorded:
            for chapter in recorded["chapters"]:
                if chapter["chapter"] == name:
                    device = recorded["environment"]["device_name"]
                    said = {"time": duration(chapter["seconds"]), "device": device}
                    return self.filled_in(RECORDED, said)
        return None

    def filled_in(self, words: str, values: dict[str, str]) -> str:
        """A sentence of the machinery in the page's language, with what it names put in."""
        return with_numbers(worded(self.env, words), lambda _, name: values[name])


class SourceList(BookDirective):
    """What the book works from, the chapter on each, and how its claims came out."""

    def run(self) -> list[nodes.Node]:
        self.depend()
        settings = self.book.settings.sources
        rows = []
        for source in self.book.sources:
            pages = self.book.pages.values()
            page = next((p for p in pages if p.card and p.card.get(settings.one) == source["id"]), None)
            title = source[settings.title]
            name = self.link_to_page(page.docname, page.title) if page else nodes.inline("", title)
            link = self.link_outside(source["link"], source[settings.original or settings.title])
            original = nodes.paragraph("", "", *link, nodes.Text(f", {source['date']}"))
            original["classes"].append("source-original")
            claims = [c for c in page.claims if self.book.source_of(c) == source["id"]] if page else []
            counts = tally(self.env, claims) or nodes.inline("", "in preparation", classes=["in-preparation"])
            rows.append([source["id"], [nodes.paragraph("", "", name), original], counts])
        return [self.table([settings.one.capitalize(), "Chapter", "Its claims"], rows, "sources")]
