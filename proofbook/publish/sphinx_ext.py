"""The Sphinx side of the book: directives filled from the notebooks' records, a site that stands alone.

The directives (`DIRECTIVES`) print nothing that was typed for them: what they show is read, at build time,
from the outputs the notebooks carry, from the recorded runs, from CITATION.cff and from the book's address.
"""

import json
import shutil
from collections import Counter
from importlib.resources import files as package_files
from pathlib import Path

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from experiments import results
from proofbook.ledger.record import PresentCode
from proofbook.publish import api, benchmarks
from proofbook.publish.address import read_address, theme_options
from proofbook.publish.citation import chapter_citation, read_edition
from proofbook.publish.notebooks import (
    CLAIM_MIME,
    EQUATION_MIME,
    VERDICTS,
    Page,
    notebook_paths,
    parse_card,
    read_page,
)
from proofbook.publish.site import RUNS_FILE

ERRATA_VERDICTS = ("needs correction", "false", "holds under", "approximate")


class Book:
    """All that the directives show, read once a build."""

    def __init__(self, root: Path):
        self.root = root
        self.pages = [
            read_page(root / path, path.with_suffix("").as_posix()) for path in notebook_paths(root)
        ]
        self.address = read_address(root)
        self.edition = read_edition(root)
        runs = root / RUNS_FILE
        self.runs = json.loads(runs.read_text(encoding="utf-8")) if runs.is_file() else {}
        recorded = sorted((root / "book" / "recorded").glob("*.json"))
        timed = [path for path in recorded if path.match(benchmarks.PATTERN)]
        self.recorded = [_json(path) for path in recorded if path not in timed]
        self.benchmarks = [_json(path) for path in timed]
        self.experiments = {
            path.stem: results.read(path) for path in sorted((root / "book" / "recorded").glob("*.jsonl"))
        }
        self.articles = yaml.safe_load((root / "book" / "articles.yml").read_text(encoding="utf-8"))

    def page(self, docname: str) -> Page | None:
        return next((page for page in self.pages if page.docname == docname), None)

    def sources(self, docname: str | None = None) -> list[Path]:
        """The files whose change makes a page stale that shows one chapter, or (None) the whole book."""
        chosen = [page for page in self.pages if docname in (None, page.docname)]
        return [self.root / f"{page.docname}.ipynb" for page in chosen] + [
            path
            for path in [
                self.root / RUNS_FILE,
                self.root / "book" / "articles.yml",
                *sorted((self.root / "book" / "recorded").glob("*.json*")),
            ]
            if path.is_file()
        ]


def _json(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


class BookDirective(SphinxDirective):
    """A directive that reads the book and makes its page depend on what it read."""

    has_content = True

    @property
    def book(self) -> Book:
        return self.env.app.proofbook_book

    def depend(self, docname: str | None = None) -> None:
        for path in self.book.sources(docname):
            self.env.note_dependency(str(path))

    def markdown(self, text: str) -> list[nodes.Node]:
        """The nodes of a piece of Markdown."""
        return self.parse_text_to_nodes(text)

    def inline(self, text: str) -> list[nodes.Node]:
        """The nodes of one line of Markdown, out of their paragraph."""
        parsed = self.markdown(text)
        if len(parsed) == 1 and isinstance(parsed[0], nodes.paragraph):
            return parsed[0].children
        return parsed

    def link_to_claim(self, claim: dict, label: str | None = None) -> nodes.Node:
        reference = addnodes.pending_xref(
            "",
            refdomain="std",
            reftype="ref",
            reftarget=claim["anchor"].lower(),
            refexplicit=True,
            refwarn=True,
            refdoc=self.env.docname,
        )
        reference += nodes.inline("", label or claim["id"], classes=["std", "std-ref"])
        return reference

    def link_to_page(self, docname: str, label: str) -> nodes.Node:
        reference = addnodes.pending_xref(
            "",
            refdomain="std",
            reftype="doc",
            reftarget=f"/{docname}",
            refexplicit=True,
            refwarn=True,
            refdoc=self.env.docname,
        )
        reference += nodes.inline("", "", *self.inline(label))
        return reference

    def table(
        self, headings: list[str], rows: list[list | str], kind: str, *, stacks: bool = True
    ) -> nodes.Node:
        """A table that turns into a stack of its cells on a narrow screen (see book.css), or else scrolls.

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


def made_with(environment: dict) -> dict[str, str]:
    """What a record was made with and on, as a reader would say it."""
    commit = (environment["commit"] or "unknown")[:12]
    return {
        "Device": environment["device_name"],
        "Driver": environment["driver"] or "none",
        **{"Python" if name == "python" else name: v for name, v in environment["versions"].items()},
        "Date": environment["date"],
        "Commit": commit + (", with local changes" if environment["modified"] else ""),
    }


def provenance(facts: dict[str, str], *, stale: list[str]) -> list[nodes.Node]:
    """Whether a record was made with the present sources, else what of it was not; and what it was made with."""
    fields = nodes.field_list(classes=["run-facts"])
    for name, value in facts.items():
        fields += nodes.field(
            "", nodes.field_name("", name), nodes.field_body("", nodes.paragraph("", value))
        )
    if not stale:
        state = nodes.paragraph(
            "", "Current: made with the sources this book is built from.", classes=["current"]
        )
    else:
        state = nodes.paragraph(
            "", f"Stale: the code of {', '.join(stale)} has changed since this run.", classes=["stale"]
        )
    return [state, fields]


def as_blocks(content) -> list[nodes.Node]:
    """What a table cell may hold: blocks as they are, inline content in a paragraph, text as text."""
    if isinstance(content, str):
        return [nodes.paragraph("", content)]
    content = list(content) if isinstance(content, (list, tuple)) else [content]
    if content and all(
        isinstance(node, (nodes.Inline, nodes.Text, addnodes.pending_xref)) for node in content
    ):
        return [nodes.paragraph("", "", *content)]
    return content


def badge(verdict: str, text: str | None = None) -> nodes.Node:
    return nodes.inline("", text or verdict, classes=["verdict", f"verdict-{verdict.replace(' ', '-')}"])


def counted(claims: list[dict]) -> list[tuple[str, int]]:
    """Verdicts that occur and how often, in the order of `VERDICTS`."""
    tally = Counter(claim["verdict"] for claim in claims)
    return [(verdict, tally[verdict]) for verdict in VERDICTS if tally[verdict]]


def duration(seconds: float) -> str:
    """A duration as a reader would say it.

    >>> duration(8.23), duration(95.0), duration(8100.0)
    ('8.2 s', '1 min 35 s', '2 h 15 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class ChapterCard(BookDirective):
    """What the chapter is about, what its reader will be able to do, and how its claims came out."""

    def run(self):
        self.depend(self.env.docname)
        card = parse_card("\n".join(self.content), self.env.docname)
        page = self.book.page(self.env.docname)
        box = nodes.container(classes=["chapter-card"])
        if card.get("article"):
            box += nodes.paragraph(
                "",
                "",
                *self.inline(
                    f"Article {card['article']} · {card['date']} · [{card['title_zh']}]({card['link']})"
                ),
                classes=["card-source"],
            )
            box += nodes.paragraph("", card["title_en"], classes=["card-title"])
        box += nodes.paragraph("", "", *self.inline(card["verdict"]), classes=["card-verdict"])
        box += nodes.paragraph("", "After this chapter you can", classes=["card-can"])
        box += nodes.bullet_list(
            "", *[nodes.list_item("", nodes.paragraph("", "", *self.inline(item))) for item in card["can"]]
        )
        claims = page.claims if page else []
        for verdict, number in counted(claims):
            line = nodes.paragraph(classes=["card-claims"])
            line += [badge(verdict, f"{number} {verdict}"), nodes.Text(" ")]
            for claim in claims:
                if claim["verdict"] == verdict:
                    line += [self.link_to_claim(claim, claim["id"].split("-")[-1]), nodes.Text(" ")]
            box += line
        if self.env.docname in self.book.runs:
            run = self.book.runs[self.env.docname]
            box += nodes.paragraph(
                "",
                f"Every line below ran in {duration(run['seconds'])} "
                f"when this page was built, with torch {run['versions']['torch']}.",
                classes=["card-run"],
            )
        elif recorded := self.recorded_time():
            box += nodes.paragraph("", recorded, classes=["card-run"])
        return [box]

    def recorded_time(self) -> str | None:
        """The chapter's run time from a run on record, for a page built from stored outputs; None without one."""
        name = self.env.docname.rsplit("/", 1)[-1]
        for run in self.book.recorded:
            for chapter in run["chapters"]:
                if chapter["chapter"] == name:
                    return f"The checks of this page ran in {duration(chapter['seconds'])} on {run['environment']['device_name']}."
        return None


class Articles(BookDirective):
    """The eight articles, their chapters and how their claims came out."""

    def run(self):
        self.depend()
        rows = []
        for article in self.book.articles:
            page = next(
                (p for p in self.book.pages if p.card and p.card.get("article") == article["id"]), None
            )
            title = self.link_to_page(page.docname, page.title) if page else nodes.Text(article["title_en"])
            name = nodes.paragraph("", "", title)
            original = nodes.paragraph(
                "",
                "",
                *self.inline(f"[{article['title_zh']}]({article['link']}), {article['date']}"),
                classes=["article-original"],
            )
            claims = [claim for claim in page.claims if claim["article"] == article["id"]] if page else []
            tally: list[nodes.Node] = []
            for verdict, number in counted(claims):
                tally += [badge(verdict, f"{number} {verdict}"), nodes.Text(" ")]
            rows.append(
                [
                    article["id"],
                    [name, original],
                    tally or nodes.inline("", "in preparation", classes=["in-preparation"]),
                ]
            )
        return [self.table(["Article", "Chapter", "Its claims"], rows, "articles")]


class ClaimCounts(BookDirective):
    """How all claims came out, in one line."""

    def run(self):
        self.depend()
        claims = [claim for page in self.book.pages for claim in page.claims]
        derivations = sum(
            any(step["strategy"] != "definition" for step in equation["steps"])
            for page in self.book.pages
            for equation in page.equations
        )
        line = nodes.paragraph(classes=["claim-counts"])
        line += nodes.Text(f"{derivations} derivations verified, {len(claims)} claims checked: ")
        for verdict, number in counted(claims):
            line += [badge(verdict, f"{number} {verdict}"), nodes.Text(" ")]
        return [line]


class ClaimList(BookDirective):
    """The claims of the book, or of one article, each linked to the cell that checks it."""

    option_spec = {"article": directives.unchanged}
    verdicts = VERDICTS
    none = "No claims have been checked yet."

    def run(self):
        self.depend()
        found = []
        for page in self.book.pages:
            claims = [claim for claim in page.claims if self.wanted(claim)]
            if not claims:
                continue
            if "article" not in self.options:
                found.append(nodes.rubric("", "", self.link_to_page(page.docname, page.title)))
            rows = [[self.heading(claim), self.statement(claim), self.evidence(claim)] for claim in claims]
            found.append(self.table(["Claim", "Statement", "Evidence"], rows, "ledger"))
        return found or [nodes.paragraph("", self.none)]

    def wanted(self, claim: dict) -> bool:
        return claim["verdict"] in self.verdicts and self.options.get("article") in (None, claim["article"])

    def heading(self, claim: dict) -> list[nodes.Node]:
        return [
            nodes.paragraph("", "", self.link_to_claim(claim)),
            nodes.paragraph("", "", badge(claim["verdict"])),
        ]

    def evidence(self, claim: dict) -> nodes.Node:
        listed = nodes.bullet_list(classes=["evidence"])
        for item in filter(lambda item: self.shows(claim, item), claim["evidence"]):
            kind = nodes.emphasis("", item["kind"])
            listed += nodes.list_item(
                "", nodes.paragraph("", "", kind, nodes.Text(": "), *self.inline(item["text"]))
            )
        return listed

    def shows(self, claim: dict, evidence: dict) -> bool:
        return True

    def statement(self, claim: dict) -> list[nodes.Node]:
        blocks = self.markdown(claim["statement"])
        for word in ("condition", "correction"):
            if claim.get(word):
                blocks += self.markdown(f"**{word.capitalize()}.** {claim[word]}")
        return blocks


class QuotedClaims(ClaimList):
    """Claims named one by one, as far as they have been checked."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        self.depend()
        checked = {claim["id"]: claim for page in self.book.pages for claim in page.claims}
        quoted = [checked[name] for name in self.arguments[0].split() if name in checked]
        rows = [[self.heading(claim), self.statement(claim)] for claim in quoted]
        return [self.table(["Claim", "What was found"], rows, "quoted")] if rows else []


class VerdictLegend(BookDirective):
    """What each verdict means."""

    meanings = {
        "holds": "True as stated, with a proof, a computation to many digits or an attack that failed.",
        "holds under": "True under the condition given; a counterexample shows that the condition is needed.",
        "approximate": "True up to an error that was measured, in the regime given.",
        "needs correction": "Not true as stated; the correction given is, and both are shown.",
        "false": "Not true; the counterexample is shown.",
        "empirical": "An experiment says so; it is cited or repeated, not derived.",
        "open": "Measured, and not decided by it: what was found is shown with its uncertainty.",
    }

    def run(self):
        rows = [[badge(verdict), self.meanings[verdict]] for verdict in VERDICTS]
        return [self.table(["Verdict", "Meaning"], rows, "legend")]


class RunAnywhere(BookDirective):
    """How to run a chapter without setting anything up, where the book has an address to fetch it from."""

    def run(self):
        repository = self.book.address.repository
        if not repository:
            return []
        return self.markdown(
            "The rocket above each chapter opens it on Binder or Colab. On Colab, run this in a cell of "
            f'its own first:\n\n```\n%pip install "attnlib[models,theory] @ git+{repository}"\n```\n'
        )


class Errata(ClaimList):
    """The articles' claims that cannot stand as they were written, with what to read instead.

    A hypothesis of the book's own that failed is a result, not an erratum.
    """

    verdicts = ERRATA_VERDICTS
    none = "No claim checked so far needs a correction or a condition."

    def wanted(self, claim: dict) -> bool:
        return super().wanted(claim) and bool(claim["article"])

    def shows(self, claim: dict, evidence: dict) -> bool:
        """What speaks against the claim as it was written: a counterexample, or the size of its error."""
        against = {"measured", "asymptotic"} if claim["verdict"] == "approximate" else {"counterexample"}
        return evidence["kind"] in against


class Recorded(BookDirective):
    """Records by the device they were made on: a subclass says which, and shows ``one``."""

    def records(self) -> list[dict]:
        raise NotImplementedError

    def one(self, record: dict, code: PresentCode) -> list[nodes.Node]:
        """A record as blocks; what of it other code has made than ``code`` is said to be stale."""
        raise NotImplementedError

    def run(self):
        self.depend()
        code = PresentCode(self.book.root / "book")
        found: list[nodes.Node] = []
        for device, name in (("cpu", "CPU"), ("cuda", "CUDA")):
            found.append(nodes.rubric("", name))
            records = [
                record for record in self.records() if record["environment"]["device"].split(":")[0] == device
            ]
            if not records:
                found.append(nodes.paragraph("", "Not recorded yet.", classes=["not-recorded"]))
            for record in records:
                found += self.one(record, code)
        return found


class RecordedRuns(Recorded):
    """The runs on record, whether they are of the present code, and what each chapter's checks measured.

    ``:chapter:`` shows that chapter's part of them only.
    """

    option_spec = {"chapter": directives.unchanged}

    def records(self) -> list[dict]:
        return [run for run in self.book.recorded if self.wanted(run)]

    def one(self, run: dict, code: PresentCode) -> list[nodes.Node]:
        facts = made_with(run["environment"]) | {"Seed": str(run["seed"])}
        stale = [
            chapter["chapter"]
            for chapter in self.wanted(run)
            if chapter["digest"] != code.chapter(chapter["chapter"])
        ]
        blocks = provenance(facts, stale=stale)
        rows = [
            [
                chapter["chapter"],
                str(len(chapter["claims"])),
                str(len(chapter["checks"])),
                duration(chapter["seconds"]),
            ]
            for chapter in self.wanted(run)
        ]
        blocks.append(self.table(["Chapter", "Claims", "Checks", "Time"], rows, "recorded"))
        for chapter in self.wanted(run):
            blocks.append(self.checks(chapter))
        return blocks

    def wanted(self, run: dict) -> list[dict]:
        """The chapters of a run that the directive asks for."""
        only = self.options.get("chapter")
        return [chapter for chapter in run["chapters"] if only in (None, chapter["chapter"])]

    def checks(self, chapter: dict) -> nodes.Node:
        rows = []
        for check in chapter["checks"]:
            bounds = [
                f"{sign} {check[key]:.4g}"
                for key, sign in (("below", "<"), ("above", ">"), ("low", "≥"), ("high", "≤"))
                if key in check
            ]
            rows.append(
                [
                    check.get("claim", ""),
                    self.markdown(check["check"]),
                    f"{check['value']:.4g}",
                    ", ".join(bounds),
                ]
            )
        box = nodes.container(classes=["checks"])
        box += nodes.raw(
            "", f"<details><summary>{chapter['chapter']}: what was measured</summary>", format="html"
        )
        box += self.table(["Claim", "Check", "Measured", "Bound"], rows, "checks")
        box += nodes.raw("", "</details>", format="html")
        return box


class Benchmarks(Recorded):
    """The benchmarks on record: the hardware, the bars that were met or missed, every case's numbers."""

    def records(self) -> list[dict]:
        return self.book.benchmarks

    def one(self, record: dict, code: PresentCode) -> list[nodes.Node]:
        benchmarks.validate(record)
        facts = made_with(record["environment"]) | {"Threads": str(record["threads"])}
        if record["quick"]:
            facts["Rounds"] = "few (quick)"
        stale = [
            name.replace("_", " ")
            for name, result in record["benchmarks"].items()
            if result["digest"] != code.module(result["module"])
        ]
        blocks = provenance(facts, stale=stale)
        bars = [
            [
                [nodes.strong("", name), nodes.Text(f": {bar['name']}")],
                f"{bar['value']:.3g}",
                f"{'≤' if 'at_most' in bar else '≥'} {bar.get('at_most', bar.get('at_least')):g}",
                nodes.inline("", outcome := "met" if bar["met"] else "missed", classes=[f"bar-{outcome}"]),
            ]
            for name, result in self.results(record)
            for bar in result["bars"]
        ]
        if bars:
            blocks.append(self.table(["Bar", "Measured", "Limit", "Outcome"], bars, "timings", stacks=False))
        for name, result in self.results(record):
            blocks.append(nodes.rubric("", name))
            tables: dict[tuple[str, ...], list] = {}
            for row in benchmarks.rows(result["results"]):
                tables.setdefault(tuple(row[2]), []).append(row)
            blocks += [self.numbers(quantities, rows) for quantities, rows in tables.items()]
        return blocks

    def results(self, record: dict):
        return [(name.replace("_", " "), result) for name, result in record["benchmarks"].items()]

    def numbers(self, quantities: tuple[str, ...], rows: list[tuple]) -> nodes.Node:
        cells, last = [], ()
        for where, case, numbers in rows:
            if where != last:
                cells.append(benchmarks.place(where))
            cells.append([case, *(benchmarks.shown(name, numbers[name]) for name in quantities)])
            last = where
        return self.table(["Case", *quantities], cells, "timings", stacks=False)


class RecordedExperiments(Recorded):
    """The experiments on record: hardware, settings, how much of the experiment each one holds."""

    def records(self) -> list[dict]:
        return [
            {**entries[0], **entries[0]["configuration"], "name": name, "entries": entries}
            for name, entries in self.book.experiments.items()
        ]

    def one(self, record: dict, code: PresentCode) -> list[nodes.Node]:
        experiment = record["name"].rsplit("-", 1)[0]
        trained = [entry for entry in record["entries"] if entry["kind"] == "training"]
        facts = {"Experiment": experiment, "Preset": record["preset"]}
        if trained:
            facts["Models trained"] = (
                f"{len(trained)}, each for {record['steps']:,} steps of {record['batch']} windows"
            )
            facts["Training took"] = duration(sum(entry["seconds"] for entry in trained))
        facts |= {
            "Scores": str(len(record["entries"]) - len(trained)),
            **made_with(record["environment"]),
            "dtype": record["dtype"],
            "Text": record["corpus"][:12],
            "Sources": record["digest"][:12],
        }
        if carried := record.get("carried_from"):
            facts["Carried over"] = f"{carried['date']}, from {carried['commit'][:12]}: {carried['how']}"
        stale = [] if record["digest"] == code.module(record["module"]) else [record["module"]]
        return provenance(facts, stale=stale)


class CiteChapter(BookDirective):
    """BibTeX and plain text for the page it stands on."""

    def run(self):
        page = self.book.page(self.env.docname)
        title = page.title if page else self.book.edition.title
        bibtex, text = chapter_citation(
            self.book.edition, self.book.address, docname=self.env.docname, title=title
        )
        return [
            nodes.paragraph("", text, classes=["citation-text"]),
            nodes.literal_block(bibtex, bibtex, language="bibtex", classes=["citation-bibtex"]),
        ]


class RunOn(BookDirective):
    """With what and for how long the notebooks ran for this build."""

    def run(self):
        self.depend()
        runs = self.book.runs
        if not runs:
            return [
                nodes.paragraph(
                    "",
                    "This site was built from the outputs stored in the notebooks; "
                    "`make book` runs them and fills in this table.",
                )
            ]
        rows = []
        for page in self.book.pages:
            run = runs[page.docname]
            rows.append(
                [
                    [self.link_to_page(page.docname, page.title)],
                    run["date"].replace("T", " ").rstrip("Z"),
                    duration(run["seconds"]),
                    f"{run['versions']['python']}",
                    run["versions"]["torch"],
                ]
            )
        return [self.table(["Chapter", "Ran (UTC)", "Time", "Python", "torch"], rows, "runs")]


def _load_book(app) -> None:
    app.proofbook_book = Book(Path(app.srcdir))


def _drop_records(app, docname, source) -> None:
    """Hide the records, which are not for show, from the page renderer; it would warn of each."""
    if not str(app.env.doc2path(docname)).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            for mime in (CLAIM_MIME, EQUATION_MIME):
                output.get("data", {}).pop(mime, None)
    source[0] = json.dumps(notebook)


def _mark_sources(app, what, name, obj, options, lines) -> None:
    """Let the sources named in a docstring lead to the claims this book has checked."""
    anchors = {claim["anchor"].lower() for page in app.proofbook_book.pages for claim in page.claims}
    lines[:] = api.mark_sources(lines, anchors)


def _apply_address(app, config) -> None:
    address = read_address(Path(app.srcdir))
    config.html_theme_options = {**config.html_theme_options, **theme_options(address)}
    config.html_baseurl = f"{address.site}/" if address.site else ""


MATHJAX_PARTS = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2")


def _copy_mathjax(app) -> None:
    """Put MathJax and its fonts beside the pages, from the wheel that carries them."""
    if app.builder.format != "html":
        return
    source = Path(str(package_files("mathjax"))) / "static" / "mathjax" / "es5"
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        if (target / part).exists():
            continue
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (source / part).is_dir() else shutil.copyfile
        copy(source / part, target / part)


DIRECTIVES = {
    "chapter-card": ChapterCard,
    "articles": Articles,
    "claim-counts": ClaimCounts,
    "ledger": ClaimList,
    "errata": Errata,
    "quoted-claims": QuotedClaims,
    "recorded-runs": RecordedRuns,
    "benchmarks": Benchmarks,
    "recorded-experiments": RecordedExperiments,
    "cite-chapter": CiteChapter,
    "run-anywhere": RunAnywhere,
    "run-on": RunOn,
    "verdict-legend": VerdictLegend,
}


def setup(app):
    for name, directive in DIRECTIVES.items():
        app.add_directive(name, directive)
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    app.connect("autodoc-process-docstring", _mark_sources)
    app.connect("config-inited", _apply_address, priority=100)
    app.connect("builder-inited", _load_book)
    app.connect("builder-inited", _copy_mathjax)
    app.connect("source-read", _drop_records)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
