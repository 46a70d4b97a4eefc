"""From a proved formula to a function of numbers: numpy, mpmath or torch."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import sympy as sp

from attnlib.derive.domain import Domain
from attnlib.derive.instantiate import at_size

BACKENDS = ("numpy", "mpmath", "torch")


def lambdify(expression: sp.Expr, arguments: Sequence, domain: Domain, backend: str = "numpy"):
    """A function of ``arguments`` in the order given; a vector argument takes its entries along the last axis.

    >>> import sympy as sp
    >>> from attnlib.derive.domain import Domain, indices, ladder, size, vector
    >>> n, (i,), s = size(), indices("i"), vector("s")
    >>> total = lambdify(sp.Sum(s[i]**2, (i, 1, n)), [s], Domain({s: (-1, 1), n: ladder(2)}))
    >>> float(total([3.0, 4.0]))
    25.0
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {BACKENDS}, got {backend!r}")
    vectors = [a for a in arguments if isinstance(a, sp.IndexedBase)]

    @functools.lru_cache(maxsize=None)
    def at(n: int):
        plain = []
        for a in arguments:
            plain += domain.entries(a, n) if isinstance(a, sp.IndexedBase) else [a]
        concrete = at_size(expression, domain, n)
        missing = concrete.free_symbols - set(plain)
        if missing:
            raise ValueError(f"arguments must name {', '.join(sorted(map(str, missing)))} as well")
        return sp.lambdify(plain, concrete, _modules(backend))

    def function(*values):
        if len(values) != len(arguments):
            raise TypeError(f"expected {len(arguments)} arguments, got {len(values)}")
        flat, n = [], 0
        for a, value in zip(arguments, values):
            if a in vectors:
                entries = _entries(value, backend)
                if n and n != len(entries):
                    raise ValueError(f"vectors must have one length, got {n} and {len(entries)}")
                n = len(entries)
                flat += entries
            else:
                flat.append(_scalar(value, backend))
        return at(n)(*flat)

    return function


def _entries(value, backend: str) -> list:
    if backend == "numpy":
        import numpy as np

        return list(np.moveaxis(np.asarray(value), -1, 0))
    if backend == "torch":
        return list(value.unbind(-1))
    return list(value)


def _scalar(value, backend: str):
    if backend == "torch":
        import torch

        return torch.as_tensor(value, dtype=torch.float64) if not isinstance(value, torch.Tensor) else value
    return value


def _modules(backend: str):
    if backend == "mpmath":
        return "mpmath"
    if backend == "numpy":
        return ["scipy", "numpy"]
    import torch

    def tensor(x):
        return x if isinstance(x, torch.Tensor) else torch.as_tensor(float(x), dtype=torch.float64)

    def unary(f):
        return lambda x: f(tensor(x))

    names = ("exp", "log", "sqrt", "erf", "erfc", "cosh", "sinh", "tanh", "cos", "sin")
    functions = {name: unary(getattr(torch, name)) for name in names}
    functions["Abs"] = unary(torch.abs)
    functions["sign"] = unary(torch.sign)
    functions["Max"] = lambda *xs: functools.reduce(torch.maximum, map(tensor, xs))
    functions["Min"] = lambda *xs: functools.reduce(torch.minimum, map(tensor, xs))
    functions["pi"] = torch.pi
    return [functions]
