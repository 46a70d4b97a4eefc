"""Calls into SymPy's algorithms, which may fail on formulas that are perfectly sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sympy as sp

from proofbook.derive.errors import DerivationError, Undecided


@contextmanager
def sympy_may_fail(task: str, expression: Any) -> Iterator[None]:
    """Turn whatever SymPy raises while it works on ``expression`` into ``Undecided``.

    Its algorithms raise TypeError, NotImplementedError, StopIteration and more on formulas that are sound
    (sympy#23846 is one): that says nothing of the step, except that it was not settled.

    Args:
        task: what SymPy was asked to do, as a verb: "carry out", "simplify".
        expression: what it was asked to do it to.

    Raises:
        Undecided: names the task, the expression and SymPy's own error.
    """
    try:
        yield
    except DerivationError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise Undecided(f"SymPy fails to {task} {expression}: {said}") from error


def carry_out(operation: sp.Expr) -> sp.Expr:
    """What SymPy makes of a derivative, an integral, a sum or a limit.

    Raises:
        Undecided: SymPy fails to.
    """
    with sympy_may_fail("carry out", operation):
        return operation.doit(deep=False)
