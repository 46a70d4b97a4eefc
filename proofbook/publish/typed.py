"""What is typed into sentences and should come from an object that was checked: numbers, formulas of claims.

Decimals, and whole numbers above `COUNTED`, stand in code; prose, captions, alternative texts and the words
of claims and evidence name them, as in ``{{rows}}``. A claim's formulas are objects, too. What is quoted with
its source, years and dates, and the numbers of the book's own sources may be typed. What else must be typed
is listed, with the reason, in ``typed-numbers.yml``.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from proofbook.publish.book import Book
from proofbook.publish.flow import Flow, calls_in, folded, is_number, name_of
from proofbook.publish.notebooks import CARD
from proofbook.publish.prose import numbers_named, uniform, without_code
from proofbook.settings import Sources

__all__ = ["COUNTED", "formulas", "numbers", "numbers_filled_in"]

COUNTED = 12
"""A whole number up to this one counts something; a larger one was measured, computed or chosen."""

LIST = "typed-numbers.yml"

# --- numbers ------------------------------------------------------------------------------------------------

# A number within a word of Latin letters is part of a name; Chinese words stand next to numbers.
_NUMBER = re.compile(r"(?a:(?<![\w.#-])\d(?:[\d.,]*\d)?(?![\w#]))")
_YEAR = r"(?:19\d\d|20[0-4]\d)"
_NOT_TYPED = re.compile(
    r"\{\{[^{}]*\}\}"  # a number that is filled in
    r"|\{[\w:-]+\}`[^`]*`"  # a role
    r"|\]\([^)]*\)|https?://\S+|<[^<>\s]*>"  # a link, an HTML tag
    rf"|\b{_YEAR}-\d\d(?:-\d\d)?\b|\b\d{{1,2}} [A-Z][a-z]+ {_YEAR}\b"  # a date
    rf"|\b(?i:between|in|since|of|until|by|before|after|from|and|to) {_YEAR}\b(?!\s+\w+s\b)"
    rf"|[(,] ?{_YEAR}(?=[;,).])"
    rf"|{_YEAR} ?年(?: ?\d{{1,2}} ?月(?: ?\d{{1,2}} ?日)?)?"
)
_OPTION = re.compile(r"^:[\w-]+:.*$|^[`:~]{3,}.*$|^\([\w-]+\)=\s*$", re.M)
_SENTENCE = re.compile(r"(?<=[.!?:])\s+|(?<=[。！？：])|\n\s*\n|^\s*[-*+] ", re.M)


def typed_numbers(text: str) -> Iterator[str]:
    """The numbers that a sentence of the text types, in the order in which they stand there.

    >>> list(typed_numbers("In 2021, rows of 512 keys: $c=0.24$, {{n}} keys, 3 ways. By {cite}`su`, 8.33."))
    ['512', '0.24']
    """
    for sentence in _SENTENCE.split(_OPTION.sub("", without_code(text))):
        if "{cite" in sentence:
            continue
        for found in _NUMBER.finditer(_NOT_TYPED.sub(" ", sentence.replace("{,}", ","))):
            if is_large(found[0]):
                yield found[0]


def is_large(number: str) -> bool:
    """Whether a number is a decimal, or a whole number that counts nothing by hand.

    >>> [is_large(one) for one in ("12", "13", "0.5", "2,000", "1,2")]
    [False, True, True, True, False]
    """
    if "." in number:
        return True
    parts = number.split(",")
    whole = all(len(part) == 3 for part in parts[1:])
    return int("".join(parts)) > COUNTED if whole else any(int(part) > COUNTED for part in parts)


def numbers(book: Book) -> Iterator[str]:
    """No sentence types a number that a cell should fill in."""
    listed = book.data(LIST) or []
    unused: dict[tuple[str, str], None] = {}
    for entry in listed:
        if set(entry) != {"page", "number", "why"} or not all(str(one).strip() for one in entry.values()):
            yield f"{LIST}: an entry needs page, number and why: {entry}"
            continue
        unused[entry["page"], str(entry["number"])] = None
    known = set(unused)
    own = {source["id"] for source in book.sources}
    for where, place, text in _sentences(book):
        for number in dict.fromkeys(typed_numbers(text)):
            entry = where.with_suffix("").as_posix(), number
            unused.pop(entry, None)
            if number not in own and entry not in known:
                yield (
                    f"{where}{place}: {number} is typed: let a cell fill it in (fill_in), "
                    f"or list it with its reason in book/{LIST}"
                )
    for page, number in unused:
        yield f"{LIST} lists {number}, which {page} does not type"


def _sentences(book: Book) -> Iterator[tuple[Path, str, str]]:
    """Every text that is typed for readers: its file, where in it, and the text.

    A translation is of its original's file, whose typed numbers it may have.
    """
    for path in book.paths:
        for kind, text in book.texts(path):
            if kind == "source":
                yield path, "", _without_source(text, book.settings.sources)
            else:
                yield path, f", {kind}", text
    for one in book.translations.values():
        for text in one.texts.values():
            yield one.original, f", {one.language}", text
    for path, index, cell in book.code_cells():
        for name, text in _words_in_code(cell["source"]):
            yield path, f", cell {index}, {name}(...)", text
    for file, statements in book.claim_statements.items():
        for claim, statement in statements.items():
            yield file, f", {claim}", statement


def _without_source(text: str, sources: Sources) -> str:
    """A text without the lines of a chapter's card that say what the chapter is on: they are the source's."""
    keys = filter(None, [sources.one, sources.original, sources.title, "date", "link"])
    lines = re.compile(rf"^(?:{'|'.join(map(re.escape, keys))}): .*$", re.M)
    return CARD.sub(lambda card: lines.sub("", card[0]), text)


_EVIDENCE = {
    "agreement",
    "attacked",
    "between",
    "checked",
    "counterexample",
    "measured",
    "proved",
    "violates",
}
_WORDS = _EVIDENCE | {"claim", "say", "table"}
_DRAWING = {"annotate", "legend", "set", "set_title", "set_xlabel", "set_ylabel", "suptitle", "text", "title"}
_DRAWING |= {"Bars", "Curve", "Dot", "Iterates", "Line", "Panel", "Reading", "Slider", "draggable"}
_LABELS = {"label", "title", "xlabel", "ylabel"}


def numbers_in(code: str) -> Iterator[str]:
    """The numbers that the words of a cell type, whatever the lists say of them."""
    for _, text in _words_in_code(code):
        yield from typed_numbers(text)


def _words_in_code(code: str) -> Iterator[tuple[str, str]]:
    """The words that a cell puts before readers, in claims, sentences and figures, by who shows them."""
    for call in calls_in(code):
        name = name_of(call)
        for argument in call.args:
            if name in _WORDS | _DRAWING:
                yield from ((name, text) for text in _texts(argument))
        for keyword in call.keywords:
            if keyword.arg in _LABELS or name in _WORDS | _DRAWING:
                yield from ((name, text) for text in _texts(keyword.value))


def _texts(node: ast.AST) -> Iterator[str]:
    """The texts typed in an expression, not those inside another call; an f-string's, without its values."""
    waiting = [node]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, ast.JoinedStr):
            parts = (part.value for part in one.values if isinstance(part, ast.Constant))
            yield "{{}}".join(map(str, parts))
        elif isinstance(one, ast.Constant):
            if isinstance(one.value, str):
                yield one.value
        elif not isinstance(one, ast.Call):
            waiting += list(ast.iter_child_nodes(one))


def numbers_filled_in(book: Book) -> Iterator[str]:
    """Every number that prose names is filled in from what a cell computed, and every such one is named."""
    named: set[tuple[str, str]] = set()
    for path in book.paths:
        for of, name in (one for _, text in book.texts(path) for one in numbers_named(text)):
            book.number(path, of, name)
            named.add((of or path.stem, name))
    for path, page in book.pages.items():
        idle = sorted(name for name in page.numbers if (path.stem, name) not in named)
        if idle:
            yield f"{path}: no sentence names {', '.join(idle)}, which a cell fills in"
    for path, index, cell in book.code_cells():
        for problem in wrongly_bound(cell["source"]):
            yield f"{path}, cell {index}: {problem}"
    for path, flow in book.flows.items():
        for index, problem in bound_to_another(flow):
            yield f"{path}, cell {index}: {problem}"


def wrongly_bound(code: str) -> Iterator[str]:
    """What is wrong with how a cell binds names of numbers: to one that is typed, or to another thing."""
    for call in calls_in(code):
        if name_of(call) == "fill_in":
            given = {str(keyword.arg): keyword.value for keyword in call.keywords}
        elif name_of(call) == "claim":
            given = _formulas(call)
        else:
            continue
        for name, value in given.items():
            if not any(isinstance(part, (ast.Name, ast.Call)) for part in ast.walk(value)):
                yield f"{name} is typed in {name_of(call)}(...): give what the computation used or found"
            elif name_of(call) == "fill_in" and not _words(name) & _words_of(value):
                yield (
                    f"{name} shares no word with what fill_in binds it to, {ast.unparse(value)}: "
                    "name it by that, or the wrong variable would go unnoticed"
                )
            elif name_of(call) == "fill_in" and (numbers := _reckoned_with(value)):
                yield (
                    f"{', '.join(numbers)} is typed in what fill_in binds {name} to: let a variable have it "
                    "that the computation used"
                )


def _reckoned_with(value: ast.expr) -> list[str]:
    """The numbers that an expression types, but for places in a list, 1, and the 100 of per cent."""
    value = folded(value)
    places = {
        id(part) for one in ast.walk(value) if isinstance(one, ast.Subscript) for part in ast.walk(one.slice)
    }
    numbers = [
        one.value
        for one in ast.walk(value)
        if isinstance(one, ast.Constant) and is_number(one) and id(one) not in places
    ]
    return [str(number) for number in numbers if number not in (1, 100)]


def bound_to_another(flow: Flow) -> Iterator[tuple[int, str]]:
    """Numbers that have the name of one variable and are bound to another, each with its cell."""
    for cell, statement in flow.statements:
        for call in (node for node in ast.walk(statement) if isinstance(node, ast.Call)):
            for keyword in call.keywords if name_of(call) == "fill_in" else ():
                parts = ast.walk(keyword.value)
                named = {getattr(node, "id", "") or getattr(node, "attr", "") for node in parts} - {""}
                name = keyword.arg or ""
                if named and name not in named and flow.maker(name, len(flow.statements)) is not None:
                    yield (
                        cell,
                        f"fill_in binds {name} to {ast.unparse(keyword.value)}, and the notebook has a "
                        f"variable {name}: take that one, or another name",
                    )


def _words(name: str) -> set[str]:
    """The words of a name, one thing and several alike.

    >>> sorted(_words("key_rows")), sorted(_words("SHARE"))
    (['key', 'row'], ['share'])
    """
    parts = re.findall(r"[a-z]+", name.lower())
    return {part[:-1] if part.endswith("s") and len(part) > 1 else part for part in parts}


def _words_of(value: ast.expr) -> set[str]:
    """The words of the names that an expression speaks of, and of the keys that it looks up."""
    names = [getattr(node, "id", "") or getattr(node, "attr", "") for node in ast.walk(value)]
    keys = [
        node.slice.value
        for node in ast.walk(value)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
    ]
    return set().union(*map(_words, [*names, *(key for key in keys if isinstance(key, str))]))


def _formulas(call: ast.Call) -> dict[str, ast.expr]:
    for keyword in call.keywords:
        if keyword.arg == "formulas" and isinstance(keyword.value, ast.Dict):
            keys = (key.value if isinstance(key, ast.Constant) else "" for key in keyword.value.keys)
            return {str(key): value for key, value in zip(keys, keyword.value.values)}
    return {}


# --- formulas of claims -------------------------------------------------------------------------------------

_SUBSCRIPT = re.compile(r"_\{[^{}]*\}")
_INLINE = re.compile(r"\$([^$]+)\$")
_SYMBOL = re.compile(
    r"(?:\\(?:mathbb|mathcal|mathbf|mathrm|bar|hat|tilde|operatorname)\s*)?(?:\{?\\?[A-Za-z]+\}?|\\ell)"
    r"'*(?:_(?:\{[^{}]*\}|\\?[A-Za-z]+|[0-9])|\^(?:\*|\{\*\}))*"
)
_FORMULA = re.compile(rf"{_SYMBOL.pattern}(?:\({_SYMBOL.pattern}\))?(?:\s*=\s*\{{\{{\w+\}}\}})?")
_NO_SYMBOL = re.compile(
    r"\\(?:log|exp|sqrt|frac|tfrac|sum|prod|int|max|min|sup|inf|lim|to|in|le|ge|ne|approx|sim|propto)(?![A-Za-z])"
)


def typed_formulas(text: str) -> Iterator[str]:
    """The formulas typed in a sentence: whatever is more than one symbol, with what it depends on or is.

    >>> list(typed_formulas("for $n={{n}}$, $F(\\\\lambda)$ and $s_j$ it is $\\\\log n$, or $n>2$"))
    ['\\\\log n', 'n>2']
    """
    for found in _INLINE.finditer(text):
        formula = found[1].strip()
        if not _FORMULA.fullmatch(formula) or _NO_SYMBOL.search(_SUBSCRIPT.sub("", formula)):
            yield formula


def formulas(book: Book) -> Iterator[str]:
    """The words of a claim type no formula: they name objects that were checked."""
    for file, statements in book.claim_statements.items():
        for claim, text in statements.items():
            yield from (f"{file.as_posix()}, {claim}: {problem}" for problem in formulas_in_words(text))
    for path, index, cell in book.code_cells():
        yield from (f"{path}, cell {index}: {problem}" for problem in formulas_in(cell["source"]))


def formulas_in(code: str) -> Iterator[str]:
    """The formulas that the words of a cell's claims type."""
    for call in calls_in(code):
        if name_of(call) == "claim":
            words = [one.value for one in call.keywords if one.arg in ("condition", "correction")]
            for text in (text for one in words for text in _texts(one)):
                yield from formulas_in_words(text)


def formulas_in_words(text: str) -> Iterator[str]:
    """What is to be said of the formulas that some words of a claim type."""
    for formula in typed_formulas(text):
        yield f"the formula {uniform(formula)!r} is typed; name it, and give it in formulas="
