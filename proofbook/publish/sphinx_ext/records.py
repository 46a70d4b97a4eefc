"""Recorded runs and benchmarks, by the device they were made on."""

import html
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging

from proofbook.publish import benchmarks
from proofbook.publish.sphinx_ext.base import BookDirective, Cell, duration, shown_name

logger = logging.getLogger(__name__)

DEVICES = (("cpu", "CPU"), ("cuda", "CUDA"))


def made_with(environment: dict[str, Any]) -> dict[str, str]:
    """What a record was made with and on, as a reader would say it."""
    commit = (environment["commit"] or "unknown")[:12]
    return {
        "Device": environment["device_name"],
        "Driver": environment["driver"] or "none",
        **{shown_name(name): version for name, version in environment["versions"].items()},
        "Date": environment["date"],
        "Commit": commit + (", with local changes" if environment["modified"] else ""),
    }


def provenance(facts: dict[str, str], *, stale: list[str]) -> list[nodes.Node]:
    """Whether a record was made with the present code, and what it was made with and on.

    Args:
        facts: What to say of the record, by name.
        stale: The parts of it whose code has changed since.
    """
    fields = nodes.field_list(classes=["run-facts"])
    for name, value in facts.items():
        body = nodes.field_body("", nodes.paragraph("", value))
        fields += nodes.field("", nodes.field_name("", name), body)
    if stale:
        words, kind = f"Stale: the code of {', '.join(stale)} has changed since this run.", "stale"
    else:
        words, kind = "Current: made with the sources this book is built from.", "current"
    return [nodes.paragraph("", words, classes=[kind]), fields]


class Recorded(BookDirective):
    """Records by the device they were made on: a subclass says which, and shows ``one``."""

    def records(self) -> list[dict[str, Any]]:
        """The records to show."""
        raise NotImplementedError

    def one(self, record: dict[str, Any]) -> list[nodes.Node]:
        """A record as blocks; what other code than the present has made of it is said to be stale."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        self.depend()
        found: list[nodes.Node] = []
        for device, name in DEVICES:
            found.append(nodes.rubric("", name))
            records = [one for one in self.records() if device_of(one) == device]
            if not records:
                found.append(nodes.paragraph("", "Not recorded yet.", classes=["not-recorded"]))
            for record in records:
                found += self.one(record)
        return found


def device_of(record: dict[str, Any]) -> str:
    """The kind of device that a record was made on, as ``cuda`` for ``cuda:1``."""
    return str(record["environment"]["device"]).split(":")[0]


class RecordedRuns(Recorded):
    """The runs on record, whether they are of the present code, and what each chapter's checks measured.

    ``:chapter:`` shows that chapter's part of them only.
    """

    option_spec = {"chapter": directives.unchanged}

    def records(self) -> list[dict[str, Any]]:
        """The recorded runs that hold what the directive asks for."""
        return [run for run in self.book.recorded if self.wanted(run)]

    def one(self, record: dict[str, Any]) -> list[nodes.Node]:
        """The facts of a run, a row a chapter, and the chapters' checks, folded."""
        facts = made_with(record["environment"]) | {"Seed": str(record["seed"])}
        chapters = {chapter["chapter"]: chapter["digest"] for chapter in self.wanted(record)}
        stale = [name for name, digest in chapters.items() if digest != self.book.present_code.chapter(name)]
        blocks = provenance(facts, stale=stale)
        rows = [
            [
                chapter["chapter"],
                str(len(chapter["claims"])),
                str(len(chapter["checks"])),
                duration(chapter["seconds"]),
            ]
            for chapter in self.wanted(record)
        ]
        blocks.append(self.table(["Chapter", "Claims", "Checks", "Time"], rows, "recorded"))
        for chapter in self.wanted(record):
            blocks.append(self.checks(chapter))
        return blocks

    def wanted(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """The chapters of a run that the directive asks for."""
        only = self.options.get("chapter")
        return [chapter for chapter in run["chapters"] if only in (None, chapter["chapter"])]

    def checks(self, chapter: dict[str, Any]) -> nodes.Node:
        """What a chapter's checks measured, and their bounds."""
        rows = []
        for check in chapter["checks"]:
            bounds = [
                f"{sign} {check[key]:.4g}"
                for key, sign in (("below", "<"), ("above", ">"), ("low", "≥"), ("high", "≤"))
                if key in check
            ]
            words = nodes.paragraph("", "", *self.inline(check["check"]))
            rows.append([check.get("claim", ""), [words], f"{check['value']:.4g}", ", ".join(bounds)])
        box = nodes.container(classes=["checks"])
        summary = html.escape(f"{chapter['chapter']}: what was measured")
        box += nodes.raw("", f"<details><summary>{summary}</summary>", format="html")
        box += self.table(["Claim", "Check", "Measured", "Bound"], rows, "checks")
        box += nodes.raw("", "</details>", format="html")
        return box


class MeasuredRatio(BookDirective):
    """One ratio on record, in a sentence: ``{measured} row_statistics / 4096 / forward / lse + entropy``.

    The names lead through the record to a case that has a ratio to its peer. One that no record has is a
    warning, which stops a strict build; what is on record for older code is shown with its date all the same.
    """

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        self.depend()
        name, *path = (part.strip() for part in self.arguments[0].split("/"))
        sentences = []
        for record in self.book.benchmarks:
            found: Any = record["benchmarks"].get(name, {}).get("results", {})
            for part in path:
                found = found.get(part, {}) if isinstance(found, dict) else {}
            for quantity, value in found.items() if isinstance(found, dict) else ():
                if quantity.startswith("ratio to ") and value is not None:
                    made = record["environment"]
                    sentences.append(
                        f"{path[-1]} takes {benchmarks.shown('ratio', value)} times as long as "
                        f"{quantity.removeprefix('ratio to ')}, {benchmarks.place(tuple(path[:-1]))}: "
                        f"{made['device_name']}, {record['threads']} threads, {made['date']}."
                    )
        if not sentences:
            logger.warning("no record has the ratio %s", self.arguments[0], location=self.get_location())
        return [nodes.paragraph("", sentence, classes=["measured-ratio"]) for sentence in sentences]


class Benchmarks(Recorded):
    """The benchmarks on record: the hardware, the bars that were met or missed, every case's numbers."""

    def records(self) -> list[dict[str, Any]]:
        """The recorded benchmarks."""
        return self.book.benchmarks

    def one(self, record: dict[str, Any]) -> list[nodes.Node]:
        """The facts of a record, its bars, and its numbers by benchmark."""
        facts = made_with(record["environment"]) | {"Threads": str(record["threads"])}
        if record["quick"]:
            facts["Rounds"] = "few (quick)"
        stale = [
            name
            for name, result in self.results(record)
            if result["digest"] != self.book.present_code.module(result["module"])
        ]
        blocks = provenance(facts, stale=stale)
        bars: list[list[Cell]] = [
            [
                [nodes.strong("", name), nodes.Text(f": {bar['name']}")],
                f"{bar['value']:.3g}",
                f"{'≤' if 'at_most' in bar else '≥'} {bar.get('at_most', bar.get('at_least')):.4g}",
                nodes.inline("", outcome := "met" if bar["met"] else "missed", classes=[f"bar-{outcome}"]),
            ]
            for name, result in self.results(record)
            for bar in result["bars"]
        ]
        if bars:
            blocks.append(self.table(["Bar", "Measured", "Limit", "Outcome"], bars, "timings", stacks=False))
        for name, result in self.results(record):
            blocks.append(nodes.rubric("", name))
            tables: dict[tuple[str, ...], list[benchmarks.Row]] = {}
            for row in benchmarks.rows(result["results"]):
                tables.setdefault(tuple(row[2]), []).append(row)
            blocks += [self.numbers(quantities, rows) for quantities, rows in tables.items()]
        return blocks

    def results(self, record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """The benchmarks of a record by their name in words."""
        return [(name.replace("_", " "), result) for name, result in record["benchmarks"].items()]

    def numbers(self, quantities: tuple[str, ...], rows: list[benchmarks.Row]) -> nodes.Node:
        """The cases that have the same quantities, as one table."""
        cells: list[str | list[str]] = []
        last: tuple[str, ...] = ()
        for where, case, numbers in rows:
            if where != last:
                cells.append(benchmarks.place(where))
            cells.append([case, *(benchmarks.shown(name, numbers[name]) for name in quantities)])
            last = where
        return self.table(["Case", *quantities], cells, "timings", stacks=False)
