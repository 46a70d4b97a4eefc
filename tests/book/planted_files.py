"""Errors planted in the files of a book that are no code: prose, captions, takeaways, lists, data, records.

`outcomes` plants one at a time in a copy of the book, asks the lint for its first complaint, and, where a
file of numbers was changed, runs the chapters that read it. ``python tests/book/planted.py --files 6``
counts.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from planted import Outcome, Planted, in_place, runs

from proofbook.publish import lint
from proofbook.publish.book import Book
from proofbook.publish.notebooks import BookError, code_of, load

SLOW = ("equations", "independent", "said_and_compared", "stored_notebooks", "proof_table", "translations")
"""Checks that are asked last, since the first complaint is enough."""
FIGURE = re.compile(r"\d(?=\d*[,\s\]}])")
NAMED = re.compile(r"\{\{(?:[\w.-]+:)?([a-z][a-z0-9_]*)\}\}")
ROLE = re.compile(r"\{(claim|eq)\}`([^`]+)`")
TAKEAWAYS = re.compile(r"^## Takeaways\n(.*?)(?=^#{1,2} |\Z)", re.M | re.S)

Plant = Callable[[Book, random.Random], tuple[Path, str, str]]
"""Makes one error: the file relative to the book's root, what is wrong, and the text of the file with it."""


def outcomes(root: Path, each: int, seed: int, wanted: Sequence[str] = ()) -> Iterator[tuple[str, Outcome]]:
    """So many errors of each kind, planted in the copy of a book in `root`, and what became of them.

    Raises:
        RuntimeError: the lint complains of the book as it stands.
    """
    if problem := refused_by_the_lint(root):
        raise RuntimeError(f"the lint complains of the book as it stands: {problem}")
    book = Book(root)
    for kind, plants in KINDS.items():
        rng = random.Random(f"{seed} {kind}")
        for number in range(each if not wanted or kind in wanted else 0):
            file, what, text = plants[number % len(plants)](book, rng)
            one = Planted(kind, what, "", elsewhere=(root / file, text))
            with in_place(one):
                refused = refused_by_the_lint(root) or refused_by_a_run(root, file)
            yield file.as_posix(), Outcome("file", one, refused)


def refused_by_the_lint(root: Path) -> str | None:
    """The first complaint of the lint about the book, or None."""
    book = Book(root)
    try:
        for check in sorted(lint.CHECKS, key=lambda check: check.__name__ in SLOW):
            for complaint in check(book):
                return complaint
    except BookError as error:
        return str(error)
    return None


def refused_by_a_run(root: Path, file: Path) -> str | None:
    """What refuses a chapter that reads a file of numbers, or whose list of claims it is; None if all run."""
    if file.suffix not in (".toml", ".json", ".jsonl"):
        return None
    for path in Book(root).notebook_paths:
        cells = [cell["source"] for cell in code_of(load(root / path))]
        if path.stem == file.stem or any(f'"{file.stem}"' in source for source in cells):
            space: dict[str, Any] = {"__name__": "__main__"}
            for source in cells:
                if problem := runs(source, space):
                    return problem
    return None


# --- prose, captions, takeaways ----------------------------------------------------------------------------


def _in_texts(change: Callable[[str, Book, Path, random.Random], str | None], *, key: str = "") -> Plant:
    """A plant in a text of a notebook: in its words, or in what its figures have under a key."""

    def plant(book: Book, rng: random.Random) -> tuple[Path, str, str]:
        places = [(path, k) for path in book.pages for k, _ in enumerate(load(book.root / path)["cells"])]
        for path, k in rng.sample(places, len(places)):
            notebook = json.loads((book.root / path).read_bytes())
            cell = notebook["cells"][k]
            holder: dict[str, Any] = cell
            if key:
                of_figure = cell["metadata"].get("mystnb", {})
                holder = of_figure.get("figure" if key == "caption" else "image", {})
            elif cell["cell_type"] != "markdown":
                continue
            text = "".join(holder.get(key or "source", ""))
            changed = change(text, book, path, rng) if text else None
            if changed is not None and changed != text:
                holder[key or "source"] = changed
                return (
                    path,
                    _difference(text, changed),
                    json.dumps(notebook, indent=1, ensure_ascii=False) + "\n",
                )
        raise LookupError("nothing of this kind is in the book")

    return plant


def _difference(text: str, changed: str) -> str:
    """Two texts from where they differ, in short."""
    start = next((k for k, (a, b) in enumerate(zip(text, changed)) if a != b), min(len(text), len(changed)))
    begin = max(0, start - 40)
    return f"{text[begin : start + 40]!r} -> {changed[begin : start + 40]!r}"


def typed_for_named(text: str, book: Book, path: Path, rng: random.Random) -> str | None:
    """A number is typed where one was filled in, and is another."""
    places = [*NAMED.finditer(text)]
    if not places:
        return None
    place = rng.choice(places)
    typed = rng.choice(["0.37", "417", "$n=4{,}170$"])
    return text[: place.start()] + typed + text[place.end() :]


def another_named(text: str, book: Book, path: Path, rng: random.Random) -> str | None:
    """Another number of the page is named."""
    places = [place for place in NAMED.finditer(text) if place[1] in book.pages[path].numbers]
    if not places:
        return None
    place = rng.choice(places)
    numbers = book.pages[path].numbers
    others = sorted(name for name, value in numbers.items() if value != numbers[place[1]])
    return text[: place.start()] + f"{{{{{rng.choice(others)}}}}}" + text[place.end() :]


def sentence_with_a_decimal(text: str, book: Book, path: Path, rng: random.Random) -> str | None:
    """A sentence more, with a number that nobody computed."""
    return f"{text.rstrip()}\nIt is {rng.random():.3f} in the mean." if len(text.split()) > 12 else None


def emptied(text: str, book: Book, path: Path, rng: random.Random) -> str:
    """Nothing is said."""
    return ""


def display_formula(text: str, book: Book, path: Path, rng: random.Random) -> str | None:
    """A display formula that nobody proved."""
    return f"{text.rstrip()}\n\n$$H = \\log n + {rng.randint(2, 9)}$$\n" if len(text.split()) > 12 else None


def _in_takeaways(change: Callable[[str, Book, random.Random], str | None]) -> Plant:
    def changed(text: str, book: Book, path: Path, rng: random.Random) -> str | None:
        section = TAKEAWAYS.search(text)
        if section is None:
            return None
        before, *bullets = re.split(r"^(?=[-*+] )", section[1], flags=re.M)
        k = rng.randrange(len(bullets))
        one = change(bullets[k], book, rng)
        if one is None:
            return None
        bullets[k] = one
        return text[: section.start(1)] + "".join([before, *bullets]) + text[section.end(1) :]

    return _in_texts(changed)


def names_nothing(bullet: str, book: Book, rng: random.Random) -> str:
    """A takeaway that names no claim and no equation."""
    return ROLE.sub("as shown", bullet)


def names_what_is_not(bullet: str, book: Book, rng: random.Random) -> str | None:
    """A takeaway that names a claim or an equation that there is not."""
    return ROLE.sub(lambda found: f"{{{found[1]}}}`{found[2]}9`", bullet, count=1)


def names_another(bullet: str, book: Book, rng: random.Random) -> str | None:
    """A takeaway that names another claim of the book."""
    ids = sorted(one["id"] for one in book.claims)
    found = next((one for one in ROLE.finditer(bullet) if one[1] == "claim"), None)
    return found and bullet[: found.start(2)] + rng.choice(ids) + bullet[found.end(2) :]


def with_a_decimal(bullet: str, book: Book, rng: random.Random) -> str:
    """A takeaway with a typed number."""
    return f"{bullet.rstrip()} It is {rng.random():.2f}.\n"


# --- lists of claims -------------------------------------------------------------------------------------


def _in_lists(change: Callable[[str, str, random.Random], str | None]) -> Plant:
    """A plant in what a list says of one claim."""

    def plant(book: Book, rng: random.Random) -> tuple[Path, str, str]:
        claims = [(file, one) for file, some in book.claim_statements.items() for one in some]
        for file, one in rng.sample(claims, len(claims)):
            text = (book.root / file).read_text(encoding="utf-8")
            changed = change(text, one, rng)
            if changed is not None and changed != text:
                return file, f"{one}: {_difference(text, changed)}", changed
        raise LookupError("nothing of this kind is in the lists")

    return plant


def claim_dropped(text: str, one: str, rng: random.Random) -> str:
    """A claim that a chapter checks is no longer listed."""
    return re.sub(rf"^{one} = .*\n", "", text, flags=re.M)


def claim_renamed(text: str, one: str, rng: random.Random) -> str:
    """A claim gets another number."""
    return re.sub(rf"^{one} = ", f"{one}9 = ", text, flags=re.M)


def formula_typed(text: str, one: str, rng: random.Random) -> str:
    """A formula is typed into a statement."""
    return re.sub(rf"^({one} = ''')", r"\1Where $n > \\log d + 3$: ", text, flags=re.M)


def number_typed(text: str, one: str, rng: random.Random) -> str:
    """A number is typed into a statement."""
    return re.sub(rf"^({one} = '''.*)\.'''$", r"\1, to 0.37 at least.'''", text, flags=re.M)


def of_another_chapter(text: str, one: str, rng: random.Random) -> str:
    """The list is given to another chapter."""
    return re.sub(r'^chapter = "(.*)"', 'chapter = "lemmas"', text, flags=re.M)


def own_or_not(text: str, one: str, rng: random.Random) -> str:
    """A claim is said to be the book's own that is none of this list."""
    own = re.search(r"^own = \[(.*)\]$", text, re.M)
    if own:
        return text[: own.start(1)] + f'{own[1]}, "{one}x"' + text[own.end(1) :]
    return re.sub(r"^(chapter = .*)$", rf'\1\nown = ["{one}x"]', text, count=1, flags=re.M)


# --- data and records ------------------------------------------------------------------------------------


def _in_files(pattern: str, change: Callable[[str, random.Random], str]) -> Plant:
    def plant(book: Book, rng: random.Random) -> tuple[Path, str, str]:
        file = rng.choice(sorted(book.folder.glob(pattern)))
        text = file.read_text(encoding="utf-8")
        changed = change(text, rng)
        return file.relative_to(book.root), _difference(text, changed), changed

    return plant


def another_digit(text: str, rng: random.Random) -> str:
    """One digit of a number is another."""
    place = rng.choice([*FIGURE.finditer(text)]).start()
    return text[:place] + rng.choice([d for d in "0123456789" if d != text[place]]) + text[place + 1 :]


def line_dropped(text: str, rng: random.Random) -> str:
    """A line of the file is gone."""
    lines = text.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return "".join(lines)


def another_word(text: str, rng: random.Random) -> str:
    """A word of the file has another letter: a device, a name, a digest."""
    place = rng.choice([*re.finditer(r"[a-y](?=[a-z])", text)]).start()
    return text[:place] + chr(ord(text[place]) + 1) + text[place + 1 :]


def in_time_to_come(text: str, rng: random.Random) -> str:
    """A date of a record is another year's."""
    return re.sub(r"\b20\d\d(?=-\d\d-\d\d)", "2091", text, count=1)


KINDS: dict[str, tuple[Plant, ...]] = {
    "number in prose typed": (_in_texts(typed_for_named), _in_texts(sentence_with_a_decimal)),
    "number in prose, another named": (_in_texts(another_named),),
    "formula in prose typed": (_in_texts(display_formula),),
    "caption": (
        *(_in_texts(change, key="caption") for change in (typed_for_named, sentence_with_a_decimal, emptied)),
        _in_texts(another_named, key="caption"),
    ),
    "alternative text": (
        *(_in_texts(change, key="alt") for change in (typed_for_named, sentence_with_a_decimal, emptied)),
    ),
    "takeaway": tuple(map(_in_takeaways, (names_nothing, names_what_is_not, with_a_decimal))),
    "takeaway, another claim named": (_in_takeaways(names_another),),
    "list of claims": tuple(
        map(
            _in_lists,
            (claim_dropped, claim_renamed, formula_typed, number_typed, of_another_chapter, own_or_not),
        )
    ),
    "data": (
        *(_in_files("data/*.toml", change) for change in (another_digit, line_dropped, another_word)),
        _in_files("data/SHA256SUMS", another_digit),
    ),
    "record": (
        *(_in_files("recorded/*.json*", change) for change in (another_digit, line_dropped, another_word)),
        _in_files("recorded/*.json", in_time_to_come),
        _in_files("recorded/SHA256SUMS", another_word),
    ),
}
"""The kinds of errors, each with the ways in which it is made, in turn."""
