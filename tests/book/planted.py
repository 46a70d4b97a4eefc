"""Errors planted outside derivations, one at a time: how many does building the book refuse by itself?

    python tests/book/planted.py [--chapters 9034 ...] [--each 3] [--seed 0]
    python tests/book/planted.py --files 6 [--seed 0]

A chapter's cells run once, in order, as a notebook runs them. Before each cell, some changed copies of it run
on a copy of what the cells before left. One that raises is refused, and so is one with which a later cell
raises, or of whose code the lint complains: that stops a build too. What a claim says is planted as well, in
its condition and in the list where its statement stands. With ``--files`` it is the other files of the book
in which so many errors of each kind are planted (planted_files.py): prose, captions, lists, data, records.
No stored output is looked at, and all of it happens in a copy of the book. It takes minutes, so it is a
command.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import io
import itertools
import os
import random
import re
import shutil
import sys
import tempfile
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


TURNED = (
    *(
        ("at most", "at least"),
        ("below", "above"),
        ("smaller", "larger"),
        ("less", "more"),
        ("falls", "rises"),
    ),
    *(("lower", "higher"), ("never", "always"), ("positive", "negative"), ("decreases", "increases")),
)
"""Words that say which way something goes, each with its opposite."""
SMALL = 2.2e-14
"""What a bound may be, whatever was measured: a hundred times what float64 can tell of a quantity near 1."""


@dataclass(frozen=True)
class Planted:
    """An error in a cell: of what kind, where, and the cell with it.

    Args:
        shown: What is shown there before and after, as expressions: where both are the same, it is no error.
        elsewhere: A file that has the error, and its text with it; the cell is then as it was.
    """

    kind: str
    what: str
    source: str
    shown: tuple[str, str] | None = None
    elsewhere: tuple[Path, str] | None = None


@dataclass(frozen=True)
class Around:
    """What stands around a cell that one of its names could be mistaken for: numbers, and formulas stated.

    The list in which its claims have their statements stands there, too.
    """

    numbers: Mapping[str, Any] = field(default_factory=dict)
    stated: Mapping[str, Any] = field(default_factory=dict)
    lists: Path | None = None

    @classmethod
    def of(cls, space: Mapping[str, Any], lists: Path | None = None) -> Around:
        """The numbers and the stated formulas that cells have left."""
        named = {name: value for name, value in space.items() if not name.startswith("_")}
        numbers = {name: value for name, value in named.items() if type(value) in (int, float)}
        return cls(numbers, {name: one for name, one in named.items() if type(one).__name__ == "Said"}, lists)

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
        if name == "claim":
            yield from _said(source, call, rng, around.lists)
        if name == "claim" and isinstance(keywords.get("formulas"), ast.Dict):
            for value in keywords["formulas"].values:
                yield from _mutants(source, "formula in words", value, rng)
                if isinstance(value, ast.Name) and value.id in around.stated:
                    if other := around.another(value.id, rng):
                        yield _changed(source, "another formula", value, other)
        if name == "said":
            yield from _mutants(source, "formula in words", call.args[0], rng)
        if name == "measured" and "below" in keywords and not _is_small(keywords["below"]):
            yield _changed(source, "bound", keywords["below"], f"1000 * ({_text(source, keywords['below'])})")
        if name == "between" and len(call.args) == 4 and "loose" not in keywords:
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
            for value in [*call.args[1:], *(one for key, one in keywords.items() if key != "at")]:
                yield from _mutants(source, "number or curve shown", value, rng)
        if name in DRAWN and len(call.args) > 1:
            yield from _mutants(source, "formula drawn", call.args[1], rng)


DRAWN = ("plot", "loglog", "semilogx", "semilogy")


def _said(source: str, call: ast.Call, rng: random.Random, lists: Path | None) -> Iterator[Planted]:
    """Errors in what a claim says: in its condition or correction, and in its statement in the list."""
    formulas = next((one.value for one in call.keywords if one.arg == "formulas"), None)
    given: dict[str, ast.expr] = {}
    if isinstance(formulas, ast.Dict):
        given = {getattr(key, "value", ""): one for key, one in zip(formulas.keys, formulas.values)}
        for one, other in itertools.combinations(rng.sample(sorted(given), len(given)), 2):
            if ast.dump(given[one]) != ast.dump(given[other]):
                swapped = {**given, one: given[other], other: given[one]}
                texts = (f"{key!r}: {_text(source, value)}" for key, value in swapped.items())
                yield _changed(source, "formulas swapped", formulas, f"{{{', '.join(texts)}}}")
                break
    for keyword in call.keywords:
        if keyword.arg in ("condition", "correction") and isinstance(keyword.value, ast.Constant):
            if call.args[1].value != "false":  # which may have a correction, and need not
                yield _changed(source, "condition", keyword.value, "None")
            for kind, text in _other_words("condition", keyword.value.value, sorted(given), rng):
                yield _changed(source, kind, keyword.value, repr(text))
    if lists is None or not isinstance(call.args[0], ast.Constant):
        return
    id, content = call.args[0].value, lists.read_text(encoding="utf-8")
    found = re.search(rf"^{id} = '''(.*)'''$", content, re.M)
    if found:
        for kind, text in _other_words("statement", found[1], sorted(given), rng):
            changed = content[: found.start(1)] + text + content[found.end(1) :]
            yield Planted(kind, f"{id}: {found[1]} -> {text}", source, elsewhere=(lists, changed))
    for table, kind in (("verdicts", "verdict in the list"), ("rests-on", "equations in the list")):
        found = re.search(rf"^\[{table}\]\n(?:.+\n)*?{id} = (.*)$", content, re.M)
        if found and table == "verdicts":
            text = rng.choice([f'"{one}"' for one in VERDICTS if f'"{one}"' != found[1]])
        elif found:
            text = str(rng.sample(one := ast.literal_eval(found[1]), len(one) - 1)).replace("'", '"')
        if found:
            changed = content[: found.start(1)] + text + content[found.end(1) :]
            yield Planted(kind, f"{id}: {found[1]} -> {text}", source, elsewhere=(lists, changed))


def _other_words(kind: str, text: str, names: list[str], rng: random.Random) -> Iterator[tuple[str, str]]:
    """Words with another formula named, with a number typed for one, and with a word for its opposite."""
    places = [*re.finditer(r"\{\{(\w+)\}\}", text)]
    if places:
        place = rng.choice(places)
        others = [name for name in names if name != place[1]]
        for other in [*([f"{{{{{rng.choice(others)}}}}}"] if others else []), "0.37"]:
            yield kind, text[: place.start()] + other + text[place.end() :]
    pairs = {one: other for pair in TURNED for one, other in (pair, pair[::-1])}
    turning = [*re.finditer(rf"\b(?:{'|'.join(pairs)})\b", text)]
    if turning:
        place = rng.choice(turning)
        yield f"{kind}, a word turned", text[: place.start()] + pairs[place[0]] + text[place.end() :]


def _is_small(bound: ast.expr) -> bool:
    """Whether a bound may be a thousand times as wide all the same."""
    return isinstance(bound, ast.Constant) and 1000 * bound.value <= SMALL


def _mistaken(source: str, value: ast.expr, rng: random.Random, around: Around) -> Iterator[Planted]:
    """What is filled in, with one of its variables taken for another."""
    names = [node for node in ast.walk(value) if isinstance(node, ast.Name) and node.id in around.numbers]
    if names:
        one = rng.choice(names)
        if other := around.another(one.id, rng):
            yield _changed(source, "another variable", one, other, whole=value)


def _mutants(
    source: str, kind: str, node: ast.expr, rng: random.Random, off: str = "1.1 * ({})"
) -> Iterator[Planted]:
    """The expression with one number, sign or relation changed; without one, all of it as `off` says."""
    places: list[tuple[ast.AST, str]] = []
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and type(part.value) in (int, float):
            places.append(
                (part, f"({part.value!r} + 1)" if abs(part.value) <= 12 else f"(2 * {part.value!r})")
            )
        if isinstance(part, ast.BinOp) and isinstance(part.op, (ast.Add, ast.Sub)):
            sign = "-" if isinstance(part.op, ast.Add) else "+"
            places.append((part, f"({_text(source, part.left)} {sign} ({_text(source, part.right)}))"))
        if isinstance(part, ast.Compare) and len(part.ops) == 1 and isinstance(part.ops[0], (ast.Lt, ast.Gt)):
            sign = ">" if isinstance(part.ops[0], ast.Lt) else "<"
            places.append((part, f"({_text(source, part.left)} {sign} {_text(source, part.comparators[0])})"))
    if not places:
        places.append((node, f"({off.format(_text(source, node))})"))
    if places:
        yield _changed(source, kind, *rng.choice(places), whole=node)


def _changed(source: str, kind: str, node: ast.AST, text: str, whole: ast.AST | None = None) -> Planted:
    """The cell with a text in place of a node of it, which is part of what is shown as a whole, if any is."""
    shown = None
    if whole is not None:
        begin = _offset(source, whole.lineno, whole.col_offset)  # type: ignore[attr-defined]
        start = _offset(source, node.lineno, node.col_offset) - begin  # type: ignore[attr-defined]
        end = _offset(source, node.end_lineno, node.end_col_offset) - begin  # type: ignore[attr-defined]
        was = _text(source, whole).encode()
        shown = was.decode(), (was[:start] + text.encode() + was[end:]).decode()
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    first, last = node.lineno - 1, node.end_lineno - 1  # type: ignore[attr-defined]
    before = b"".join(lines[:first]) + lines[first][: node.col_offset]  # type: ignore[attr-defined]
    after = lines[last][node.end_col_offset :] + b"".join(lines[last + 1 :])  # type: ignore[attr-defined]
    changed = (before + text.encode() + after).decode()
    return Planted(kind, f"{_text(source, node)} -> {text}", changed, shown)


def _offset(source: str, line: int, column: int) -> int:
    """How many bytes of a text come before a column, in bytes, of a line."""
    return sum(len(one.encode()) for one in source.splitlines(keepends=True)[: line - 1]) + column


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
    lists: Path | None = None,
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
                one
                for one in planted(source, rng, Around.of(space, lists))
                if not wanted or one.kind in wanted
            ]
        except SyntaxError:  # a magic of IPython's
            continue
        rng.shuffle(found)
        kinds: Counter[str] = Counter()
        for one in found:
            if kinds[one.kind] == each:
                continue
            after = _copy(space)
            with in_place(one):
                refused = runs(one.source, after)
            if refused is None and one.shown and one.kind != "evidence" and _same(*one.shown, after):
                continue
            kinds[one.kind] += 1
            if refused:
                yield Outcome(f"cell {number}", one, refused)
            else:
                passed.append((number, one))
        if problem := runs(source, space):
            raise RuntimeError(f"cell {number} fails as it stands: {problem}")
    for number, one in passed:
        changed = [*cells[:number], one.source, *cells[number + 1 :]]
        with in_place(one):
            refused = next(iter(complaints(changed)), None) or _to_the_end(cells, number, one.source)
        yield Outcome(f"cell {number}", one, refused)


@contextlib.contextmanager
def in_place(one: Planted) -> Iterator[None]:
    """While the file that has the error, if one has, is in place of the right one."""
    if one.elsewhere is None:
        yield
        return
    from proofbook.ledger import claims

    file, text = one.elsewhere
    before = file.read_bytes()
    file.write_text(text, encoding="utf-8")
    claims._listed.cache_clear()
    try:
        yield
    finally:
        file.write_bytes(before)
        claims._listed.cache_clear()


def _same(one: str, other: str, space: dict[str, Any]) -> bool:
    """Whether two expressions have one value, among what cells have left."""
    import numpy as np

    try:
        values = [eval(text, dict(space)) for text in (one, other)]
        return bool(np.array_equal(*map(np.asarray, values)))
    except Exception:  # of what only the cell's own loops and functions know
        return False


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


def of_the_lint(root: Path) -> Callable[[list[str]], Iterator[str]]:
    """What the lint says of the code of a chapter's cells, the words in it, and the lists of claims."""
    from proofbook.publish import sides, slack, typed
    from proofbook.publish.book import Book
    from proofbook.publish.flow import Flow

    settled = Book(root)
    own = {source["id"] for source in settled.sources}

    def complaints(cells: list[str]) -> Iterator[str]:
        statements = [text for one in Book(root).claim_statements.values() for text in one.values()]
        for text in statements:
            yield from typed.formulas_in_words(text)
            yield from set(typed.typed_numbers(text)) - own
        for source in cells:
            yield from typed.wrongly_bound(source)
            yield from typed.formulas_in(source)
            yield from slack.in_checks(source)
            yield from set(typed.numbers_in(source)) - own
        flow = Flow({"cells": [{"cell_type": "code", "source": source} for source in cells]})
        apart = settled.settings.agreement.apart
        yield from (problem for _, problem in sides.dependent_sides(flow, apart))
        yield from (problem for _, problem in sides.not_compared(flow))
        yield from (problem for _, problem in typed.bound_to_another(flow))

    return complaints


def copied(root: Path, to: Path) -> Path:
    """A copy of a book with all that its notebooks import, for errors to be planted in."""
    left_out = shutil.ignore_patterns(".*", "_build", "build", "node_modules", "__pycache__")
    shutil.copytree(root, to, ignore=left_out, dirs_exist_ok=True)
    return to


def count(found: Iterable[tuple[str, Outcome]]) -> None:
    """Say which errors pass, and how many of each kind are refused."""
    refused: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    for place, one in found:
        tried[one.planted.kind] += 1
        refused[one.planted.kind] += one.refused is not None
        if one.refused is None:
            print(f"PASSED {place}, {one.place}, {one.planted.kind}: {one.planted.what}", flush=True)
    for kind in sorted(tried):
        print(f"{kind}: {refused[kind]} of {tried[kind]} refused")
    print(f"in all: {refused.total()} of {tried.total()} refused")


def in_chapters(root: Path, asked: argparse.Namespace) -> Iterator[tuple[str, Outcome]]:
    """Errors planted in the cells of chapters, and in what the claims of these say."""
    from proofbook.publish.book import Book
    from proofbook.publish.notebooks import code_of

    book = Book(root)
    for path, notebook in book.notebooks.items():
        if not any(part in path.stem for part in asked.chapters):
            continue
        cells = [cell["source"] for cell in code_of(notebook)]
        rng = random.Random(f"{asked.seed} {path.stem}")
        lists = root / "book/claims" / f"{path.stem}.toml"
        words = lists if lists.is_file() else None
        for one in outcomes(cells, rng, asked.each, of_the_lint(root), asked.kinds, words):
            yield path.stem, one


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chapters", nargs="*", default=[""], help="parts of their names; all without it")
    parser.add_argument("--each", type=int, default=1, help="errors of a kind in one cell")
    parser.add_argument(
        "--files", type=int, help="plant so many errors of a kind in files, and none in cells"
    )
    parser.add_argument("--kinds", nargs="*", default=[], help="kinds to count; all without it")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    import matplotlib

    matplotlib.use("agg")
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        root = copied(ROOT, Path(folder) / "copy")
        os.chdir(root / "book")
        if asked.files:
            import planted_files

            count(planted_files.outcomes(root, asked.files, asked.seed, asked.kinds))
        else:
            count(in_chapters(root, asked))
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
