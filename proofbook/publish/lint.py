"""What a book must have and must not have, checked over its files.

Each check is a function of a `Book` that yields its complaints, one line each.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proofbook.files import write_whole
from proofbook.names import VERDICTS, verdict_class
from proofbook.publish import (
    checking,
    definitions,
    execute,
    followed,
    proofs,
    sides,
    slack,
    translation,
    typed,
)
from proofbook.publish.answering import awaits_answer
from proofbook.publish.book import Book
from proofbook.publish.exercises import EXERCISE, SOLUTION, beginnings
from proofbook.publish.notebooks import BookError, jupyter_format, load
from proofbook.publish.prose import display_formulas, uniform, without_code


def handwritten_formulas(book: Book) -> Iterator[str]:
    """Every display formula that no machine checked is listed, and says why it may stand."""
    listed = book.data("handwritten-formulas.yml") or []
    unused: dict[tuple[str, str], dict[str, str]] = {}
    for entry in listed:
        if set(entry) != {"page", "formula", "why"} or not all(
            str(value).strip() for value in entry.values()
        ):
            yield f"handwritten-formulas.yml: an entry needs page, formula and why: {entry}"
            continue
        unused[entry["page"], uniform(entry["formula"])] = entry
    known = set(unused)
    for path in book.paths:
        name = path.with_suffix("").as_posix()
        for formula in display_formulas(without_code(book.prose(path))):
            if (name, formula) not in known:
                yield (
                    f"{path}: a display formula is typed by hand: {formula!r}. Let a checked object show it, "
                    "or list it with its reason in book/handwritten-formulas.yml"
                )
            unused.pop((name, formula), None)
    for name, formula in unused:
        yield f"handwritten-formulas.yml lists a formula that {name} does not have: {formula!r}"


def typed_outputs(book: Book) -> Iterator[str]:
    """No output shows a display formula that does not come with the record of a checked object."""
    for path, index, cell in book.code_cells():
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if any(mime.startswith("application/vnd.proofbook.") for mime in data):
                continue
            if "text/latex" in data or display_formulas(data.get("text/markdown", "")):
                yield f"{path}, cell {index}: an output shows a display formula that nothing checked"


def equations(book: Book) -> Iterator[str]:
    """Every equation is shown as the statement that was checked, with the marks that it earned."""
    yield from checking.shown_otherwise(book)


_TYPED = re.compile(
    "|".join(rf"{verdict_class(verdict)}\b" for verdict in VERDICTS)
    + r"|:name:\s*claim-\S+|\(claim-[\w-]+\)="
)


def typed_verdicts(book: Book) -> Iterator[str]:
    """A verdict is printed by its check, never typed."""
    for path in book.paths:
        for found in _TYPED.finditer(without_code(book.prose(path))):
            yield f"{path}: a verdict or a claim's anchor is typed by hand: {found[0]!r}"


def chapter_parts(book: Book) -> Iterator[str]:
    """Every chapter has a card, its sections, and exercises with folded solutions.

    A guide claims nothing and derives nothing; a supplement derives formulas, and claims nothing beside them.
    """
    for path, page in book.pages.items():
        prose = without_code(book.prose(path))
        if path.stem in book.settings.chapters.guides:
            if page.card or page.claims or page.equations:
                yield f"{path}: a guide has a card, a claim or a derivation; those belong in a chapter"
            continue
        if path.stem in book.settings.chapters.supplements:
            if page.card or page.claims:
                yield f"{path}: a supplement has a card or a claim; those belong in a chapter"
            continue
        if page.card is None:
            yield f"{path}: the chapter has no {{chapter-card}}"
        headings = re.findall(r"^## +(.+?)\s*$", prose, re.M)
        for section in book.settings.chapters.sections:
            if section not in headings:
                yield f"{path}: the chapter has no section '## {section}'"
        if "{cite-chapter}" not in prose:
            yield f"{path}: the chapter does not say how to cite it: it needs the directive {{cite-chapter}}"
        exercises = EXERCISE.findall(prose)
        solutions = SOLUTION.findall(prose)
        for label in sorted(set(exercises) - {label for label, _ in solutions}):
            yield f"{path}: exercise {label} has no solution"
        for label, options in solutions:
            if "dropdown" not in options:
                yield f"{path}: the solution of {label} is not folded (:class: dropdown)"
        if page.card and page.card.get(book.settings.sources.one):
            yield from _on_a_source(book, path, page.card, len(exercises))


def _on_a_source(book: Book, path: Path, card: dict[str, Any], exercises: int) -> Iterator[str]:
    """The chapter on a source has enough exercises, and says of it what the book's list of sources says."""
    settings = book.settings.sources
    if exercises < settings.exercises:
        yield f"{path}: {exercises} labelled exercises, fewer than {settings.exercises}"
    source = next((one for one in book.sources if one["id"] == card[settings.one]), None)
    if source is None:
        yield f"{path}: {settings.one} {card[settings.one]} is not in {settings.file}"
        return
    for key in filter(None, (settings.original or settings.title, "date", "link")):
        if card[key] != source[key]:
            yield f"{path}: the card's {key} is {card[key]!r}, {settings.file} has {source[key]!r}"


_TAKEAWAYS = re.compile(r"^## +Takeaways[ \t]*\n(?P<body>.*?)(?=^#{1,2} |\Z)", re.M | re.S)
_NAMED = re.compile(r"\{(?P<role>claim|eq)\}`(?P<name>[^`]+)`")
_NOT_TYPED = re.compile(r"\{[\w:-]+\}`[^`]*`|\$\$.+?\$\$|\$.+?\$")
_NUMBER = re.compile(r"\d(?:[\d.,]*\d)?")


def takeaways(book: Book) -> Iterator[str]:
    """Every takeaway names a claim or an equation of its chapter that says it, and types no number found."""
    of_page = {
        path: {
            "claim": {claim["id"] for claim in page.claims},
            "eq": {equation["label"] for equation in page.equations},
        }
        for path, page in book.pages.items()
    }
    for path, own in of_page.items():
        for section in _TAKEAWAYS.finditer(book.prose(path)):
            before, *bullets = re.split(r"^[-*+] +", section["body"], flags=re.M)
            if before.strip() or not bullets:
                yield f"{path}: the takeaways are no list"
            for text in map(uniform, bullets):
                where = f"{path}: the takeaway {text[:40]!r}"
                named = [(found["role"], found["name"]) for found in _NAMED.finditer(text)]
                if not named:
                    yield f"{where} names no claim ({{claim}}`...`) and no equation ({{eq}}`...`)"
                for role, name in named:
                    if not any(name in names[role] for names in of_page.values()):
                        yield f"{where} names {name}, which the book does not have"
                if named and not any(name in own[role] for role, name in named):
                    yield f"{where} names nothing of its own chapter, only {', '.join(n for _, n in named)}"
                for number in _NUMBER.findall(_NOT_TYPED.sub(" ", text)):
                    if typed.is_large(number):
                        yield f"{where} has {number} typed; the claim that it names has the number"


def exercises(book: Book) -> Iterator[str]:
    """Every exercise has a cell for an answer, still empty, before its solution, and that is checked."""
    for path, notebook in book.notebooks.items():
        asked: str | None = None  # the exercise that waits for its answer cell
        solved: str | None = None  # the one whose solution waits for its check
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                if asked is not None and awaits_answer(cell["source"]):
                    asked = None
                elif asked is None:
                    solved = None
                continue
            for kind, label in beginnings(cell["source"]):
                if solved is not None:
                    yield f"{path}: the solution of {solved} has no cell that checks it"
                    solved = None
                if kind == "exercise":
                    asked = label
                elif asked is not None:
                    yield f"{path}: exercise {label} has no empty cell for an answer before its solution"
                    asked, solved = None, label
                else:
                    solved = label
        if solved is not None:
            yield f"{path}: the solution of {solved} has no cell that checks it"


def figures(book: Book) -> Iterator[str]:
    """Every figure has a text for those who cannot see it, a caption, and a name to link to."""
    for path, index, cell in book.code_cells():
        if not any(
            mime.startswith("image/") for output in cell.get("outputs", []) for mime in output.get("data", {})
        ):
            continue
        shown = cell.get("metadata", {}).get("mystnb", {})
        figure = shown.get("figure", {})
        if not shown.get("image", {}).get("alt", "").strip():
            yield f"{path}, cell {index}: the figure has no alt text (metadata mystnb.image.alt)"
        if not figure.get("caption", "").strip():
            yield f"{path}, cell {index}: the figure has no caption (metadata mystnb.figure.caption)"
        if not re.fullmatch(r"fig-[a-z0-9-]+", figure.get("name", "")):
            yield f"{path}, cell {index}: the figure's name must be fig-..., not {figure.get('name')!r}"


def claims(book: Book) -> Iterator[str]:
    """Every claim listed for a chapter that is in the book has passed its check there, and nowhere else."""
    listed = book.listed_claims
    home = {claim["id"]: path.stem for path, page in book.pages.items() for claim in page.claims}
    chapters = {path.stem for path in book.pages}
    for claim, chapter in listed.items():
        if chapter in chapters and home.get(claim) is None:
            yield f"{claim} is listed for {chapter}, but no cell there checks it"
        elif claim in home and home[claim] != chapter:
            yield f"{claim} is listed for {chapter} and checked in {home[claim]}"
    for claim in sorted(set(home) - set(listed)):
        yield f"{claim} is checked in {home[claim]} and not listed in book/claims/"


def records(book: Book) -> Iterator[str]:
    """Data are as they were written; a record of a chapter's present code speaks of its claims."""
    from proofbook.ledger.sums import problems

    for name in book.settings.outputs.data:
        yield from problems(book.folder / name)
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    code = book.present_code
    pages = {path.stem: page for path, page in book.pages.items()}
    for run in book.recorded:
        device, date = run["environment"]["device"], run["environment"]["date"]
        if date > today:
            yield f"the record of {device} is of {date}, a day to come"
        for chapter in run["chapters"]:
            name, recorded = chapter["chapter"], chapter["claims"]
            if name not in pages:
                yield f"the record of {device} speaks of {name}, which is no chapter"
                continue
            measured_for = {check["claim"] for check in chapter["checks"] if "claim" in check}
            if strangers := sorted(measured_for - set(recorded)):
                yield f"the record of {device} has checks of {name} for {', '.join(strangers)}, not its own"
            here = [claim["id"] for claim in pages[name].claims]
            if chapter["digest"] == code.chapter(name) and recorded != here:
                yield f"the record of {device} is of {name} as it is, and has other claims than the chapter"


def permalinks_of(book: Book) -> list[str]:
    """Every address inside the book that a reader may have cited, as ``page#anchor``, in reading order."""
    return [f"{page.docname}#{anchor}" for page in book.pages.values() for anchor in page.anchors]


def permalinks(book: Book) -> Iterator[str]:
    """Names are unique over the book, and what was once published stays where it was."""
    owner: dict[str, str] = {}
    for page in book.pages.values():
        for anchor in page.anchors:
            if anchor in owner:
                yield f"the name {anchor} is given twice: in {owner[anchor]} and in {page.docname}"
            owner[anchor] = page.docname
    present = set(permalinks_of(book))
    for line in published_permalinks(book.root):
        if line not in present:
            yield f"the published permalink {line} has vanished"


def published_permalinks(root: Path) -> list[str]:
    """The lines of ``book/permalinks.txt``."""
    file = root / "book" / "permalinks.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def publish_permalinks(root: Path) -> list[str]:
    """Append to ``book/permalinks.txt`` the permalinks it does not have yet; return them."""
    known = published_permalinks(root)
    new = [line for line in permalinks_of(Book(root)) if line not in set(known)]
    header = "# Permalinks of published editions. They may be added to, never removed.\n"
    content = header + "".join(f"{line}\n" for line in known + new)
    write_whole(root / "book" / "permalinks.txt", content.encode("utf-8"))
    return new


_AGAIN = "run `python -m proofbook execute --in-place`"
_MARKER = re.compile(r"^\s*#+\s*(NBVAL_[A-Z_]+|PYTEST_VALIDATE_[A-Z_]+)\s*$")


def unchecked_cells(book: Book) -> Iterator[str]:
    """Every code cell is compared with its stored output, or says in words why not."""
    for path, index, cell in book.code_cells():
        where = f"{path}, cell {index}"
        tags = cell.get("metadata", {}).get("tags", [])
        if any(tag.lower().startswith("nbval") for tag in tags):
            yield f"{where}: nbval is steered by a tag, which no reader sees; use a comment with its reason"
        lines = cell["source"].splitlines()
        for number, line in enumerate(lines):
            marker = _MARKER.match(line)
            after = lines[number + 1].strip() if number + 1 < len(lines) else ""
            if marker and not (after.startswith("#") and len(after.split()) > 3):
                yield f"{where}: {marker[1]} needs its reason as a comment on the next line"
        for output in cell.get("outputs", []):
            if output["output_type"] == "error" and "raises-exception" not in tags:
                yield f"{where}: the stored output is an error: {output.get('ename')}"
            if output["output_type"] == "stream" and output["name"] == "stderr":
                yield f"{where}: something was printed to stderr: {output['text'].strip().splitlines()[0]}"


def stored_notebooks(book: Book) -> Iterator[str]:
    """Stored outputs come from one run of the whole notebook, and notebooks keep no editor's traces."""
    if book.executed:
        return
    nbformat = jupyter_format()
    for path, notebook in book.notebooks.items():
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"].strip()]
        # nbval compares nothing in a cell that was never run.
        if [cell.get("execution_count") for cell in cells] != list(range(1, len(cells) + 1)):
            yield f"{path}: the outputs are not those of one whole run; {_AGAIN}"
        tidy = nbformat.from_dict(notebook)
        execute.normalize(tidy)
        if nbformat.writes(tidy) != nbformat.writes(nbformat.from_dict(load(book.root / path))):
            yield f"{path}: the file holds an editor's traces; {_AGAIN}"


def assumptions(book: Book) -> Iterator[str]:
    """Assumptions are numbered 1, 2, 3 in reading order, and something is proved from each."""
    for number, one in enumerate(proofs.assumptions(book), start=1):
        if one.number != number:
            yield f"{one.docname}, {one.label}: Assumption {one.number} is the book's number {number}"
        if not one.steps:
            yield f"{one.docname}, {one.label}: nothing is proved from Assumption {one.number}"


def proof_table(book: Book) -> Iterator[str]:
    """The table of what became of an earlier edition's steps says what the stored outputs say."""
    if book.executed:
        return
    rows = followed.listed(book)
    for row, now in zip(rows, followed.followed(book)):
        if now["how"] == "gone":
            yield f"{followed.FILE}: {row['label']}, step {row['step']}, has gone: name what stands instead"
        elif row != now:
            yield (
                f"{followed.FILE}: {row['label']}, step {row['step']}, is {now['is']} by now; "
                "run `python -m proofbook table`"
            )


def strays(book: Book) -> Iterator[str]:
    """No page lies in the book without being part of it."""
    for file in sorted((book.root / "book").rglob("*")):
        relative = file.relative_to(book.root)
        if (
            file.suffix in (".ipynb", ".md")
            and relative not in book.paths
            and not any(part.startswith((".", "_")) for part in relative.parts)
        ):
            yield f"{relative} is not in _toc.yml"


def translations(book: Book) -> Iterator[str]:
    """A translation has the formulas, numbers, links and code of its original, and no others."""
    for one in book.translations.values():
        yield from translation.translation_problems(one)


CHECKS = (
    handwritten_formulas,
    typed_outputs,
    equations,
    typed_verdicts,
    chapter_parts,
    takeaways,
    exercises,
    figures,
    definitions.used,
    claims,
    typed.numbers_filled_in,
    typed.numbers,
    typed.formulas,
    sides.independent,
    sides.said_and_compared,
    slack.of_checks,
    records,
    permalinks,
    unchecked_cells,
    stored_notebooks,
    assumptions,
    proof_table,
    translations,
    strays,
)


def check_book(root: Path, *, executed: bool = False) -> list[str]:
    """Every complaint of every check about the book in `root`.

    Args:
        root: The top of the book's repository.
        executed: Look at the outputs of the last run, not those stored in the notebooks.
    """
    return complaints(Book(root, executed=executed))


def complaints(book: Book, checks: Iterable[Callable[[Book], Iterator[str]]] = CHECKS) -> list[str]:
    """Every complaint of every check, in the order of `CHECKS`; one line where the book cannot be read."""
    try:
        return [complaint for check in checks for complaint in check(book)]
    except BookError as error:
        return [str(error)]
