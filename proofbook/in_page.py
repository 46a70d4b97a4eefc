"""Runs a cell for a page of the site, in the reader's browser, and says what it shows.

A page has SymPy, mpmath and this, but neither python-flint nor z3: what a proof wanted of them is said in the
answer (see ``proofbook.derive.engines``).
"""

import ast
import contextlib
import io
import json
import traceback
from typing import Any

from proofbook.derive import Answer

__all__ = ["answered"]

_CELL = "your cell"
_prepared: dict[str, dict[str, Any]] = {}


def answered(before: str, cell: str) -> str:
    """What a cell shows, as JSON: its ``text``, and a ``verdict``.

    The verdict is ``right`` if every answer in it is, ``wrong`` if one is not, ``none`` where no answer was
    given or none is checked, and ``error`` where the cell cannot be run.

    Args:
        before: What the cell rests on; it runs once.
        cell: The reader's code.

    >>> before = "from proofbook.derive import *; from sympy import Symbol; x = Symbol('x')"
    >>> json.loads(answered(before, "Exercise((x + 1)**2 - 1, Domain({x: (1, 2)})).check(x**2 + 2*x)"))
    {'text': 'Right: proved for every 1 <= x <= 2, by normal form', 'verdict': 'right'}
    >>> json.loads(answered(before, "Exercise(x + x**2, Domain({x: (1, 2)})).check(y)"))
    {'text': "line 1: NameError: name 'y' is not defined", 'verdict': 'error'}
    """
    said = io.StringIO()
    answers: list[Answer] = []

    def show(*results: Any) -> None:
        answers.extend(one for one in results if isinstance(one, Answer))
        for one in results:
            if one is not None:
                print(_as_text(one))

    try:
        if before not in _prepared:
            names: dict[str, Any] = {}
            exec(before, names)
            _prepared[before] = names
        names = {**_prepared[before], "show": show}
        with contextlib.redirect_stdout(said):
            for statement in ast.parse(cell, _CELL).body:
                if isinstance(statement, ast.Expr):
                    show(eval(compile(ast.Expression(statement.value), _CELL, "eval"), names))
                else:
                    exec(compile(ast.Module([statement], []), _CELL, "exec"), names)
    except Exception as error:
        print(_reason(error), file=said)
        verdict = "error"
    else:
        verdict = _verdict(answers)
    return json.dumps({"text": said.getvalue().rstrip("\n"), "verdict": verdict})


def _as_text(result: Any) -> str:
    """What a notebook without formulas would show."""
    shown = getattr(result, "_repr_mimebundle_", None)
    return str(shown().get("text/plain", result)) if shown else str(result)


def _verdict(answers: list[Answer]) -> str:
    given = [one for one in answers if one.given]
    if not given:
        return "none"
    return "right" if all(one.right for one in answers) else "wrong"


def _reason(error: Exception) -> str:
    """What went wrong, and in which line of the cell."""
    if isinstance(error, SyntaxError) and error.filename == _CELL:
        return f"line {error.lineno}: {type(error).__name__}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _CELL]
    where = f"line {lines[-1]}: " if lines else ""
    return f"{where}{type(error).__name__}: {error}"
