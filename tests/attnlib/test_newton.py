"""The one Newton iteration: functions with known roots, plateaus, open brackets, and entries left alone."""

import math

import pytest
import torch

from attnlib._newton import MOST_STEPS, Residual, falling_root

NONE = torch.zeros((), dtype=torch.float64)


def solve(function, slope, target, left, right, start, done=None):
    """Roots of function = target; ``slope`` is that of the falling function."""

    def residual(x, _):
        error = function(x) - target
        return Residual(error, -error / slope(x), torch.zeros_like(x))

    left, right, start = (torch.as_tensor(x, dtype=torch.float64) + 0 * target for x in (left, right, start))
    return falling_root(residual, left, right, start, done)


def test_many_roots_at_once_to_rounding():
    target = torch.tensor([1e-6, 0.1, 1.0, 5.0, 1e3], dtype=torch.float64)
    root = solve(lambda x: torch.exp(-x), lambda x: -torch.exp(-x), target, -20.0, 20.0, 0.0)
    torch.testing.assert_close(root.x + root.correction, -target.log(), rtol=1e-14, atol=1e-14)
    assert root.iterations.dtype == torch.int64 and (root.iterations <= 12).all()


def test_an_open_bracket_grows():
    target = torch.tensor([-50.0, -3.0], dtype=torch.float64)
    root = solve(lambda x: -x, lambda x: torch.full_like(x, -1.0), target, 0.0, math.inf, 0.0)
    torch.testing.assert_close(root.x + root.correction, -target, rtol=1e-15, atol=0)
    assert root.iterations[0] > root.iterations[1]


def test_a_plateau_costs_halvings_not_the_root():
    # Flat to rounding on both sides: Newton's step is useless until bisection has come near.
    target = torch.tensor([0.25, -0.4], dtype=torch.float64)
    root = solve(
        lambda x: -torch.tanh(1e4 * (x - 0.3)),
        lambda x: -1e4 / torch.cosh((1e4 * (x - 0.3)).clamp(-300, 300)) ** 2,
        target,
        -10.0,
        10.0,
        -9.0,
    )
    torch.testing.assert_close(
        root.x + root.correction, 0.3 - torch.atanh(target) / 1e4, rtol=1e-13, atol=1e-13
    )


def test_a_jump_exhausts_its_bracket():
    root = solve(
        lambda x: -torch.sign(x - 1 / 3), lambda x: NONE - 1.0, torch.full((1,), 0.5).double(), -1, 1, 0
    )
    assert abs((root.x + root.correction).item() - 1 / 3) < 1e-15


def test_errors_within_the_resolution_end_the_search():
    def residual(x, _):
        return Residual(1e-3 - x, 1e-3 - x, torch.full_like(x, 1e-2))

    x = torch.zeros(2, dtype=torch.float64)
    root = falling_root(residual, x - 1, x + 1, x)
    assert (root.x == 0).all() and (root.correction == 0).all() and (root.iterations == 1).all()


def test_finished_entries_stay_and_are_told():
    seen = []

    def residual(x, done):
        seen.append(done.clone())
        return Residual(2 - x, 2 - x, torch.zeros_like(x))

    x = torch.tensor([7.0, 0.0], dtype=torch.float64)
    root = falling_root(residual, x - 10, x + 10, x, torch.tensor([True, False]))
    assert root.x[0] == 7 and root.iterations.tolist()[0] == 0
    assert (root.x + root.correction)[1] == 2 and all(done[0] for done in seen)


def test_a_search_that_does_not_end_is_an_error():
    def nowhere(x, _):
        return Residual(torch.ones_like(x), torch.full_like(x, math.nan), torch.zeros_like(x))

    x = torch.zeros(3, dtype=torch.float64)
    with pytest.raises(ArithmeticError, match=f"no root found in {MOST_STEPS} steps for 3 of 3"):
        falling_root(nowhere, x, x + math.inf, x)
