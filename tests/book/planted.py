"""Errors planted outside derivations, one at a time: how many does building the book refuse by itself?

    python tests/book/planted.py [--chapters 9034 ...] [--each 3] [--seed 0]

A chapter's cells run once, in order, as a notebook runs them. Before each cell, some changed copies of it run
on a copy of what the cells before left. One that raises is refused, and so is one with which a later cell
raises, or of whose code the lint complains: that stops a build too. No stored output is looked at, nothing is
written into the book. It takes minutes, so it is a command.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import io
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VERDICTS = ("holds", "holds under", "approximate", "needs correction", "false", "empirical")
EVIDENCE_OFF = {
    "attacked": "-1 * ({})",
    "between": "2 * ({})",
    "checked": "not ({})",
    "measured": "1 + ({})",
    "violates": "not ({})",
}
"""How what was found is made wrong where nothing in it can be changed."""


@dataclass(frozen=True)
class Planted:
    """An error in a cell: of what kind, where, and the cell with it."""

    kind: str
    what: str
    source: str


@dataclass(frozen=True)
class Around:
    """What stands around a cell that one of its names could be mistaken for: numbers, and formulas stated."""

    numbers: Mapping[str, Any] = field(default_factory=dict)
    stated: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, space: Mapping[str, Any]) -> Around:
        """The numbers and the stated formulas that cells have left."""
        named = {name: value for name, value in space.items() if not name.startswith("_")}
        numbers = {name: value for name, value in named.items() if type(value) in (int, float)}
        return cls(numbers, {name: one for name, one in named.items() if type(one).__name__ == "Said"})

    def another(self, name: str, rng: random.Random) -> str | None:
        """Another thing of the same kind and of another value; None where there is none."""
        for kind in (self.numbers, self.stated):
            others = sorted(other for other in kind if name in kind and kind[other] != kind[name])
            if others:
                return rng.choice(others)
        return None


def planted(source: str, rng: random.Random, around: Around | None = None) -> Iterator[Planted]:
    """Every error that is planted in a cell, each in a copy of its own."""
    around = around or Around()
    tree = ast.parse(source)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = _name(call)
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        if name == "claim" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
            other = rng.choice([one for one in VERDICTS if one != call.args[1].value])
            yield _changed(source, "verdict", call.args[1], repr(other))
        if name == "claim" and isinstance(keywords.get("formulas"), ast.Dict):
            for value in keywords["formulas"].values:
                yield from _mutants(source, "formula in words", value, rng)
                if isinstance(value, ast.Name) and value.id in around.stated:
                    if other := around.another(value.id, rng):
                        yield _changed(source, "another formula", value, other)
        if name == "said":
            yield from _mutants(source, "formula in words", call.args[0], rng)
        if name == "measured" and "below" in keywords:
            yield _changed(source, "bound", keywords["below"], f"1000 * ({_text(source, keywords['below'])})")
        if name == "between" and len(call.args) == 4:
            high = call.args[3]
            yield _changed(
                source, "bound", high, f"({_text(source, high)}) + 9 * abs({_text(source, high)}) + 9"
            )
        if name in EVIDENCE_OFF and len(call.args) > 1:
            yield from _mutants(source, "evidence", call.args[1], rng, EVIDENCE_OFF[name])
        if name == "counterexample" and {"stated", "found"} <= set(keywords):
            stated, found = _text(source, keywords["stated"]), keywords["found"]
            yield _changed(source, "evidence", found, f"({stated})")
        if name == "solution":
            for value in call.args:
                yield from _mutants(source, "answer", value, rng)
        if name == "fill_in":
            for value in keywords.values():
                yield from _mistaken(source, value, rng, around)
        if name == "agreement" or name == "measured" and "of" in keywords:
            for part in ast.walk(call):
                if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub):
                    if not isinstance(part.right, ast.Constant):
                        left = _text(source, part.left)
                        yield _changed(source, "the same on both sides", part.right, f"({left})")
        if name in ("fill_in", "curve"):
            for value in [*call.args[1:], *keywords.values()]:
                yield from _mutants(source, "number or curve shown", value, rng)


def _mistaken(source: str, value: ast.expr, rng: random.Random, around: Around) -> Iterator[Planted]:
    """What is filled in, with one of its variables taken for another."""
    names = [node for node in ast.walk(value) if isinstance(node, ast.Name) and node.id in around.numbers]
    if names:
        one = rng.choice(names)
        if other := around.another(one.id, rng):
            yield _changed(source, "another variable", one, other)


def _mutants(
    source: str, kind: str, node: ast.expr, rng: random.Random, off: str = "1.1 * ({})"
) -> Iterator[Planted]:
    """The expression with one number, sign or relation changed; without one, all of it as `off` says."""
    places: list[tuple[ast.AST, str]] = []
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and type(part.value) in (int, float):
            places.append((part, f"({part.value!r} + 1)"))
        if isinstance(part, ast.BinOp) and isinstance(part.op, (ast.Add, ast.Sub)):
            sign = "-" if isinstance(part.op, ast.Add) else "+"
            places.append((part, f"({_text(source, part.left)} {sign} ({_text(source, part.right)}))"))
        if isinstance(part, ast.Compare) and len(part.ops) == 1 and isinstance(part.ops[0], (ast.Lt, ast.Gt)):
            sign = ">" if isinstance(part.ops[0], ast.Lt) else "<"
            places.append((part, f"({_text(source, part.left)} {sign} {_text(source, part.comparators[0])})"))
    if not places:
        places.append((node, f"({off.format(_text(source, node))})"))
    if places:
        yield _changed(source, kind, *rng.choice(places))


def _changed(source: str, kind: str, node: ast.AST, text: str) -> Planted:
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    first, last = node.lineno - 1, node.end_lineno - 1  # type: ignore[attr-defined]
    before = b"".join(lines[:first]) + lines[first][: node.col_offset]  # type: ignore[attr-defined]
    after = lines[last][node.end_col_offset :] + b"".join(lines[last + 1 :])  # type: ignore[attr-defined]
    return Planted(kind, f"{_text(source, node)} -> {text}", (before + text.encode() + after).decode())


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _text(source: str, node: ast.AST) -> str:
    return ast.get_source_segment(source, node) or ""


@dataclass(frozen=True)
class Outcome:
    """What became of a planted error: the place, the error, and what refused it, or None."""

    place: str
    planted: Planted
    refused: str | None


def runs(source: str, space: dict[str, Any]) -> str | None:
    """Run a cell, as IPython would a plain one; what it raised, or None."""
    import matplotlib.pyplot as plt

    try:
        tree = ast.parse(source)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(tree, "<cell>", "exec"), space)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), space)
                show = getattr(value, "_repr_mimebundle_", None)
                if show:
                    show()
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    finally:
        plt.close("all")
    return None


def outcomes(
    cells: list[str],
    rng: random.Random,
    each: int,
    complaints: Callable[[list[str]], Iterable[str]] = lambda cells: (),
    wanted: Sequence[str] = (),
) -> Iterator[Outcome]:
    """Errors planted in the cells of a chapter, at most `each` of a kind in a cell, and what became of them.

    What a cell lets pass may be refused by the lint, whose `complaints` about cells are asked for, or by a
    later cell, so the chapter is then run with it to its end. Where kinds are `wanted`, it is those alone.

    Raises:
        RuntimeError: a cell fails as it stands.
    """
    space: dict[str, Any] = {"__name__": "__main__"}
    passed: list[tuple[int, Planted]] = []
    for number, source in enumerate(cells):
        try:
            found = [
                one for one in planted(source, rng, Around.of(space)) if not wanted or one.kind in wanted
            ]
        except SyntaxError:  # a magic of IPython's
            continue
        rng.shuffle(found)
        kinds: Counter[str] = Counter()
        for one in found:
            kinds[one.kind] += 1
            if kinds[one.kind] > each:
                continue
            if refused := runs(one.source, _copy(space)):
                yield Outcome(f"cell {number}", one, refused)
            else:
                passed.append((number, one))
        if problem := runs(source, space):
            raise RuntimeError(f"cell {number} fails as it stands: {problem}")
    for number, one in passed:
        changed = [*cells[:number], one.source, *cells[number + 1 :]]
        refused = next(iter(complaints(changed)), None) or _to_the_end(cells, number, one.source)
        yield Outcome(f"cell {number}", one, refused)


def _to_the_end(cells: list[str], number: int, source: str) -> str | None:
    """What refuses a chapter with one cell changed, in that cell or after it."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for k, cell in enumerate(cells):
        if refused := runs(source if k == number else cell, space):
            return refused
    return None


def _copy(space: dict[str, Any]) -> dict[str, Any]:
    """Names of its own, and lists and mappings that a cell may add to; what is in them is shared."""
    return {
        key: copy.copy(value) if isinstance(value, (list, dict)) else value for key, value in space.items()
    }


def of_the_lint(apart: Sequence[str]) -> Callable[[list[str]], Iterator[str]]:
    """What the lint says of the code of a chapter's cells; what it says of outputs and words is left out."""
    from proofbook.publish import sides, typed
    from proofbook.publish.flow import Flow

    def complaints(cells: list[str]) -> Iterator[str]:
        notebook = {"cells": [{"cell_type": "code", "source": source} for source in cells]}
        for source in cells:
            yield from typed.wrongly_bound(source)
        flow = Flow(notebook)
        for _, problem in [*sides.dependent_sides(flow, apart), *sides.not_compared(flow)]:
            yield problem

    return complaints


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chapters", nargs="*", default=[""], help="parts of their names; all without it")
    parser.add_argument("--each", type=int, default=1, help="errors of a kind in one cell")
    parser.add_argument("--kinds", nargs="*", default=[], help="kinds to count; all without it")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    import os

    import matplotlib

    from proofbook.publish.book import Book
    from proofbook.publish.notebooks import code_of

    matplotlib.use("agg")
    os.chdir(ROOT / "book")
    sys.path.insert(0, str(ROOT))
    book = Book(ROOT)
    refused: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    for path, notebook in book.notebooks.items():
        if not any(part in path.stem for part in asked.chapters):
            continue
        cells = [cell["source"] for cell in code_of(notebook)]
        rng = random.Random(f"{asked.seed} {path.stem}")
        for one in outcomes(cells, rng, asked.each, of_the_lint(book.settings.agreement.apart), asked.kinds):
            tried[one.planted.kind] += 1
            refused[one.planted.kind] += one.refused is not None
            if one.refused is None:
                print(f"PASSED {path.stem}, {one.place}, {one.planted.kind}: {one.planted.what}", flush=True)
    for kind in sorted(tried):
        print(f"{kind}: {refused[kind]} of {tried[kind]} refused")
    print(f"in all: {refused.total()} of {tried.total()} refused")


if __name__ == "__main__":
    main()
