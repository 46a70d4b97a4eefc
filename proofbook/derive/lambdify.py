"""From a proved formula to a function of numbers: numpy, mpmath or torch."""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Sequence

import mpmath as mp
import sympy as sp
from sympy.core.function import AppliedUndef

from proofbook.derive.domain import Domain
from proofbook.derive.instantiate import NotConcrete, at_size
from proofbook.derive.numeric import mpmath_function

BACKENDS = ("numpy", "mpmath", "torch")

_TORCH_FUNCTIONS = (
    sp.exp,
    sp.log,
    sp.erf,
    sp.erfc,
    sp.cosh,
    sp.sinh,
    sp.tanh,
    sp.cos,
    sp.sin,
    sp.loggamma,
    sp.Abs,
    sp.sign,
    sp.Max,
    sp.Min,
)


def lambdify(expression: sp.Expr, arguments: Sequence, domain: Domain, backend: str = "numpy"):
    """A function of ``arguments`` in the order given; a vector argument takes its entries along the last axis.

    Scalars and leading axes broadcast against each other (numpy, torch); the result has their common shape. The
    numbers are as naive as the formula: nothing is rearranged against overflow or cancellation. Whole numbers
    become float64; a torch result keeps dtype, device and gradient of its arguments. Raises ``ValueError`` for an
    argument that is missing or a function the backend lacks, ``TypeError`` for the wrong number of values.

    >>> import sympy as sp
    >>> from proofbook.derive.domain import Domain, indices, ladder, size, vector
    >>> n, (i,), s = size(), indices("i"), vector("s")
    >>> total = lambdify(sp.Sum(s[i]**2, (i, 1, n)), [s], Domain({s: (-1, 1), n: ladder(2)}))
    >>> float(total([3.0, 4.0]))
    25.0
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {BACKENDS}, got {backend!r}")

    @functools.lru_cache(maxsize=None)
    def at(n: int):
        plain = []
        for a in arguments:
            plain += domain.entries(a, n) if isinstance(a, sp.IndexedBase) else [a]
        try:
            concrete = at_size(expression, domain, n)
        except NotConcrete as error:
            raise ValueError(str(error)) from error
        if undefined := concrete.atoms(AppliedUndef):
            raise ValueError(f"nobody defined {', '.join(sorted(map(str, undefined)))}")
        if missing := concrete.free_symbols - set(plain):
            raise ValueError(f"arguments must name {', '.join(sorted(map(str, missing)))} as well")
        if backend == "torch":
            concrete = _for_torch(concrete)
        if backend == "mpmath":
            return mpmath_function(plain, concrete)
        return sp.lambdify(plain, concrete, _modules(backend))

    def function(*values):
        if len(values) != len(arguments):
            raise TypeError(f"expected {len(arguments)} arguments, got {len(values)}")
        flat, n = [], 0
        for a, value in zip(arguments, values):
            value = _numbers(value, backend)
            if not isinstance(a, sp.IndexedBase):
                flat.append(value)
                continue
            entries = _entries(value, a, backend)
            if n and n != len(entries):
                raise ValueError(f"vectors must have one length, got {n} and {len(entries)}")
            n = len(entries)
            flat += entries
        try:
            found = at(n)(*flat)
        except NameError as error:
            raise ValueError(f"the {backend} backend lacks a function of the formula: {error}") from error
        return _broadcast(found, flat, backend)

    return function


def _numbers(value, backend: str):
    if backend == "numpy":
        import numpy as np

        value = np.asarray(value)
        return value if value.dtype.kind == "f" else value.astype(np.float64)
    if backend == "torch":
        import torch

        if not isinstance(value, torch.Tensor):
            return torch.as_tensor(value, dtype=torch.float64)
        return value if value.is_floating_point() else value.to(torch.float64)
    return [mp.mpmathify(x) for x in value] if isinstance(value, (list, tuple)) else mp.mpmathify(value)


def _entries(value, vector: sp.IndexedBase, backend: str) -> list:
    if backend == "mpmath":
        if not isinstance(value, list):
            raise ValueError(f"{vector.label} is a vector: it needs a list of entries, got a single number")
        return value
    if value.ndim < 1:
        raise ValueError(f"{vector.label} is a vector: it needs an axis of entries, got a single number")
    if backend == "torch":
        return list(value.unbind(-1))
    return [value[..., k] for k in range(value.shape[-1])]


def _broadcast(found, flat: list, backend: str):
    """Give a formula that does not mention a batched argument the shape of the batch all the same."""
    if backend == "numpy":
        import numpy as np

        shape = np.broadcast_shapes(*(np.shape(x) for x in flat))
        return found if np.shape(found) == shape else np.broadcast_to(found, shape)
    if backend == "torch":
        import torch

        found = (
            found
            if isinstance(found, torch.Tensor)
            else torch.full_like(flat[0], float(found))
            if flat
            else found
        )
        return torch.broadcast_to(found, torch.broadcast_shapes(*(x.shape for x in flat))) if flat else found
    return found


def _for_torch(expression: sp.Expr) -> sp.Expr:
    functions = expression.atoms(sp.Function) | expression.atoms(sp.Max, sp.Min)
    if lacking := sorted({f.func.__name__ for f in functions if not isinstance(f, _TORCH_FUNCTIONS)}):
        raise ValueError(f"the torch backend lacks {', '.join(lacking)}")
    # SymPy prints sign as a case distinction, which a tensor cannot take
    return expression.replace(sp.sign, sp.Function("signum"))


def _modules(backend: str):
    if backend == "numpy":
        # SciPy only for special functions: the recorded runs do without it
        return ["scipy", "numpy"] if importlib.util.find_spec("scipy") else ["numpy"]
    import torch

    def tensor(x):
        return x if isinstance(x, torch.Tensor) else torch.as_tensor(float(x), dtype=torch.float64)

    def unary(f):
        return lambda x: f(tensor(x))

    names = ("exp", "log", "sqrt", "erf", "erfc", "cosh", "sinh", "tanh", "cos", "sin", "lgamma")
    functions = {name: unary(getattr(torch, name)) for name in names}
    functions["Abs"] = functions["abs"] = unary(torch.abs)
    functions["signum"] = unary(torch.sign)
    functions["Max"] = functions["max"] = lambda *xs: functools.reduce(torch.maximum, map(tensor, xs))
    functions["Min"] = functions["min"] = lambda *xs: functools.reduce(torch.minimum, map(tensor, xs))
    functions["pi"], functions["e"] = torch.pi, math.e
    return [functions]
