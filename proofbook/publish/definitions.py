"""Definitions that are shown and that nothing uses: a wrong one among them would stand unnoticed."""

import ast
from collections.abc import Iterator

from proofbook.publish.book import Book
from proofbook.publish.flow import statements_of
from proofbook.publish.notebooks import code_of


def used(book: Book) -> Iterator[str]:
    """Every definition with a label is used by a derivation, a claim, a figure or an exercise."""
    for path, notebook in book.notebooks.items():
        uses: dict[str, set[str]] = {}  # by each definition the names in it
        read: set[str] = set()
        for cell in code_of(notebook):
            for statement in statements_of(cell["source"]):
                names = _defined(statement)
                for name in names:
                    uses.setdefault(name, set()).update(_loaded(statement) - set(names))
                if not names:
                    read |= _loaded(statement)
        waiting = [name for name in uses if name in read]
        while waiting:
            found = {name for name in uses.pop(waiting.pop(), set()) if name in uses}
            waiting += sorted(found)
        for name in uses:
            yield f"{path}: the definition {name} is shown, and nothing uses it"


def _defined(statement: ast.stmt) -> list[str]:
    """The names that are given to a definition with a label, if that is what a statement does."""
    if not isinstance(statement, ast.Assign):
        return []
    calls = [node for node in ast.walk(statement.value) if isinstance(node, ast.Call)]
    labelled = any(
        isinstance(call.func, ast.Name)
        and call.func.id == "define"
        and any(keyword.arg == "label" for keyword in call.keywords)
        for call in calls
    )
    targets = [node for target in statement.targets for node in ast.walk(target)] if labelled else []
    return [node.id for node in targets if isinstance(node, ast.Name)]


def _loaded(statement: ast.stmt) -> set[str]:
    """The names that a statement reads, but for those that it only shows."""
    shown: set[int] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Name):
            shown.add(id(node.value))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "show":
            shown.update(id(argument) for argument in node.args)
    return {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in shown
    }
