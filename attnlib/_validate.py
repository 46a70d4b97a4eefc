"""Checks of arguments, shared by the public functions. Every message names the argument and the value."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable

import torch
from torch import Tensor

from attnlib._transforms import found
from attnlib.errors import InvalidArgument


def floating_tensor(name: str, x: object) -> Tensor:
    """Return ``x`` if it is a dense floating-point tensor, else raise ``TypeError``."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
    dense_tensor(name, x)
    if not x.dtype.is_floating_point:
        raise TypeError(f"{name} must have a floating-point dtype, got {x.dtype}")
    return x


def dense_tensor(name: str, x: Tensor) -> None:
    """Raise ``TypeError`` for a nested or sparse tensor, whose entries no function here can reach."""
    if x.is_nested:
        raise TypeError(
            f"{name} must be a dense tensor, got a nested one: pad it, or pass its parts one by one"
        )
    if x.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got one of layout {x.layout}")


def no_nan(name: str, x: Tensor) -> None:
    """Raise if ``x`` holds a NaN, saying how many."""
    bad = torch.isnan(x)
    if found(bad):
        raise InvalidArgument(f"{name} contains NaN ({int(bad.sum())} of {x.numel()} entries)")


def finite(name: str, x: Tensor) -> None:
    """Raise if ``x`` holds a NaN or an infinity, naming the first one."""
    bad = ~torch.isfinite(x)
    if found(bad):
        value = x[bad].flatten()[0].item()
        raise InvalidArgument(f"{name} must be finite, got {value} ({int(bad.sum())} of {x.numel()} entries)")


def nonempty_dim(name: str, x: Tensor, dim: int) -> int:
    """Return the size of ``dim``; raise if ``x`` has no such dimension or it is empty."""
    if not -x.ndim <= dim < x.ndim:
        raise InvalidArgument(f"dim={dim} is out of range for {name} of shape {tuple(x.shape)}")
    n = x.shape[dim]
    if n < 1:
        raise InvalidArgument(
            f"{name} must have at least one entry along dim={dim}, got shape {tuple(x.shape)}"
        )
    return n


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise unless ``value`` is one of the words allowed, at least two."""
    if value not in allowed:
        *others, last = map(repr, allowed)
        raise InvalidArgument(f"{name} must be {', '.join(others)} or {last}, got {value!r}")


def renyi_orders(orders: object) -> tuple[float, ...]:
    """Return an iterable of Renyi orders, each in [0, inf], as a tuple, else raise."""
    if not isinstance(orders, Iterable) or isinstance(orders, (str, Tensor)):
        raise TypeError(f"orders must be an iterable of numbers, got {type(orders).__name__}")
    listed = tuple(orders)
    for order in listed:
        real_number("orders", order, low=0, allow_inf=True)
    return listed


def real_number(
    name: str,
    value: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
    allow_inf: bool = False,
) -> float:
    """Return ``value`` as a float inside the stated interval, else raise naming it."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, got {type(value).__name__}")
    value = float(value)
    if math.isnan(value) or (math.isinf(value) and not allow_inf):
        raise InvalidArgument(f"{name} must be {'a number' if allow_inf else 'finite'}, got {value}")
    if value < low or value > high or (low_open and value == low) or (high_open and value == high):
        left, right = "(" if low_open else "[", ")" if high_open else "]"
        raise InvalidArgument(f"{name} must lie in {left}{low}, {high}{right}, got {value}")
    return value


def real_tensor(
    name: str,
    value: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> Tensor:
    """Return a finite number or tensor as float64, every entry inside the stated interval, else raise."""
    if isinstance(value, Tensor):
        if value.dtype == torch.bool or value.dtype.is_complex:
            raise TypeError(f"{name} must be real, got {value.dtype}")
        x = value.to(torch.float64)
    elif isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number or a torch.Tensor, got {type(value).__name__}")
    else:
        x = torch.tensor(float(value), dtype=torch.float64)
    finite(name, x)
    bad = (x < low) | (x > high)
    if low_open:
        bad = bad | (x == low)
    if high_open:
        bad = bad | (x == high)
    if found(bad):
        left, right = "(" if low_open else "[", ")" if high_open else "]"
        raise InvalidArgument(
            f"{name} must lie in {left}{low}, {high}{right}, got {x[bad].flatten()[0].item()}"
        )
    return x


def one_device(*tensors: Tensor) -> list[Tensor]:
    """Move 0-d tensors, which may be mere numbers, to where the others are."""
    device = next((x.device for x in tensors if x.device.type != "cpu"), torch.device("cpu"))
    return [x.to(device) if x.ndim == 0 else x for x in tensors]
