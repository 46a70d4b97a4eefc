"""What makes a check say less than its words, or a figure draw what nothing computed.

In a check: a thing held against itself, slack or an end that is typed and not said, a margin that is no
difference, a result taken by its number. In a figure: what was computed times, or plus, a number that is
typed into the drawing.
"""

import ast
import re
from collections.abc import Iterator

from proofbook.publish.book import Book
from proofbook.publish.flow import calls_in, folded, is_number, name_of

__all__ = ["ROUNDING", "in_checks", "of_checks"]

ROUNDING = 1e-8
"""Slack up to this is for rounding; a larger one is named in the words of the check."""

DRAWING = {"loglog", "plot", "semilogx", "semilogy"}
CHECKS = {"attacked", "between", "checked", "measured", "violates"}
_ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def of_checks(book: Book) -> Iterator[str]:
    """Checks and figures of the book hold no typed slack, and nothing against itself."""
    for path, index, cell in book.code_cells():
        for problem in in_checks(cell["source"]):
            yield f"{path}, cell {index}: {problem}"


def in_checks(code: str) -> Iterator[str]:
    """What is wrong with what the checks and figures of a cell are given, a line each.

    >>> list(in_checks("checked('it falls', x[0] > x[1 - 1])"))
    ['it falls: x[0] is held against itself']
    """
    for call in calls_in(code):
        if name_of(call) in DRAWING and len(call.args) > 1:
            yield from _scaled(call.args[1])
        if name_of(call) in CHECKS and len(call.args) > 1:
            words = _words(call.args[0])
            given = folded(call.args[1])
            for problem in (
                *_with_itself(given),
                *_slack(given, words, name_of(call)),
                *(_outright(given, words) if name_of(call) in ("checked", "violates") else ()),
                *_by_number(given),
                *(_margin(given) if name_of(call) == "attacked" else ()),
            ):
                yield f"{words}: {problem}"


def _words(text: ast.expr) -> str:
    """The words of a check as far as they are typed, with ``…`` for each value in them."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)


def _with_itself(given: ast.expr) -> Iterator[str]:
    for node in ast.walk(given):
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Compare):
            pairs = list(zip([node.left, *node.comparators], node.comparators))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Sub, ast.Div)):
            pairs = [(node.left, node.right)]
        for one, other in pairs:
            if ast.unparse(one) == ast.unparse(other):
                yield f"{ast.unparse(one)} is held against itself"


def _slack(given: ast.expr, words: str, check: str) -> Iterator[str]:
    """Numbers added in a margin, to an error, or to a side of an inequality, that rounding does not need."""
    sides = [given] if check == "attacked" else []
    for node in ast.walk(given):
        if isinstance(node, ast.Compare) and all(isinstance(op, _ORDERED) for op in node.ops):
            sides += [node.left, *node.comparators]
    added = [number for side in sides for number in _added(side)]
    if check == "measured":
        added += _added(given, subtracted=False)
    if check == "attacked":  # what is left of a bound of 1 may be anywhere in it
        added += [number for node in ast.walk(given) for number in _terms(node) if abs(number) != 1]
    for number in dict.fromkeys(added):
        if abs(number) > ROUNDING and not _is_said(number, words):
            yield (
                f"{number} is added in the check, and its words do not say so: name it there, "
                f"or leave no more than {ROUNDING:g} for rounding"
            )


def _added(side: ast.expr, subtracted: bool = True) -> list[float]:
    """The numbers that an expression adds to something, or, where asked for, takes from it."""
    if not isinstance(side, ast.BinOp) or not isinstance(side.op, (ast.Add, ast.Sub)):
        return []
    if isinstance(side.op, ast.Sub):
        return _numbers(side.right) if subtracted else []
    return [*_numbers(side.left), *_numbers(side.right)]


def _terms(node: ast.AST) -> list[float]:
    """The numbers among the two terms of a sum or a difference."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, (ast.Add, ast.Sub)):
        return []
    return [*_numbers(node.left), *_numbers(node.right)]


def _numbers(node: ast.expr) -> list[float]:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and is_number(node):
        return [node.value]
    return []


def _outright(given: ast.expr, words: str) -> Iterator[str]:
    """What is wrong with the numbers of a check that answers yes or no."""
    yield from _ends(given, words)
    yield from _factors(given, words)


def _ends(given: ast.expr, words: str) -> Iterator[str]:
    """Numbers that something is held to be below, above or equal to, and that the words leave out."""
    for node in (one for one in ast.walk(given) if isinstance(one, ast.Compare)):
        for number in (one for side in (node.left, *node.comparators) for one in _numbers(side)):
            if abs(number) > ROUNDING and abs(number) != 1 and not _is_said(number, words):
                yield (
                    f"the check holds something against {number}, and its words do not say so: let a "
                    "variable have it, and its words print that"
                )


def _factors(given: ast.expr, words: str) -> Iterator[str]:
    """Numbers that something in the check is multiplied with, or divided by, and that the words leave out."""
    for node in ast.walk(given):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
            for number in [*_numbers(node.left), *_numbers(node.right)]:
                if abs(number) not in (0, 1) and not _is_said(number, words):
                    yield (
                        f"{number} is a factor in the check, and its words do not say so: let a "
                        "variable have it, and its words print that"
                    )


IN_WORDS: dict[float, str] = {
    0.001: "thousandth",
    0.01: "hundredth|per ?cent",
    0.1: "tenth",
    0.5: "half",
    2: "two|twice|second|half",
    3: "three|thrice|tripl|third",
    4: "four",
    5: "five",
    6: "six",
    7: "seven",
    8: "eight",
    9: "nine",
    10: "ten",
    1000: "thousand",
}
"""Numbers as words say them."""


def _is_said(number: float, words: str) -> bool:
    """Whether words have a number, in digits or as a word.

    >>> _is_said(5, "more than five times"), _is_said(0.01, "by 0.01"), _is_said(6, "more than five times")
    (True, True, False)
    """
    digits = re.escape(f"{abs(number):g}")
    return bool(
        re.search(rf"(?<![\d.]){digits}(?![\d.]*\d)", words)
        or abs(number) in IN_WORDS
        and re.search(rf"\b(?:{IN_WORDS[abs(number)]})", words)
    )


def _margin(given: ast.expr) -> Iterator[str]:
    """A margin that is a sum: what is left of a bound is the bound less something."""
    terms, waiting = [], [given]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.BinOp) and isinstance(one.op, (ast.Add, ast.Sub)):
            terms.append(one)
            waiting += [one.left, one.right]
    if terms and all(isinstance(one.op, ast.Add) and not _has_number(one) for one in terms):
        yield f"{ast.unparse(given)} is a sum, and a margin is a difference"


def _has_number(node: ast.BinOp) -> bool:
    return is_number(node.left) or is_number(node.right)


def _scaled(drawn: ast.expr) -> Iterator[str]:
    if isinstance(drawn, ast.BinOp) and _has_number(drawn):
        yield f"{ast.unparse(drawn)} is drawn: let what was computed have a name, without a number typed here"


def _by_number(given: ast.expr) -> Iterator[str]:
    for node in ast.walk(given):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Call) and is_number(node.slice):
            yield (
                f"{ast.unparse(node)} takes a result by its number, and another one would go unnoticed: "
                "let the results have names"
            )
