"""Oracles: the delta method by automatic differentiation, simulation, and the exact law of a flat row."""

import math

import pytest
import torch

from attnlib.errors import InvalidArgument
from attnlib.theory import noise

DOUBLE = torch.float64


def row(n=111, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, generator=generator, dtype=DOUBLE),
        torch.randn(n, 3, generator=generator, dtype=DOUBLE),
    )


def test_leading_order_in_std_is_the_delta_method():
    # output as a function of the noise: Var = std^2 |grad|^2, bias = std^2 / 2 * trace of the Hessian,
    # both up to a relative std^2, so at std = 1e-4 to 1e-8
    scores, values = row()

    def output(eps):
        return torch.softmax(scores + eps, -1) @ values[:, 0]

    zero = torch.zeros_like(scores)
    gradient = torch.autograd.functional.jacobian(output, zero)
    hessian = torch.autograd.functional.hessian(output, zero)
    std = 1e-4
    torch.testing.assert_close(
        noise.output_variance(scores, values[:, 0], std), std**2 * (gradient**2).sum(), rtol=2e-8, atol=0
    )
    # softmax: the Hessian's trace is sum p (1 - 2 p)(v - o), and sum p (v - o) = 0
    torch.testing.assert_close(
        noise.output_bias(scores, values[:, 0], std), std**2 / 2 * hessian.diagonal().sum(), rtol=2e-8, atol=0
    )


def test_simulation_with_many_effective_keys():
    scores, values = row(n=512, seed=1)
    values = values[:, 0]
    std, draws = 0.5, 40_000
    eps = std * torch.randn(draws, 512, generator=torch.Generator().manual_seed(2), dtype=DOUBLE)
    output = torch.softmax(scores + eps, -1) @ values
    effective = 1 / float((torch.softmax(scores, -1) ** 2).sum())
    # the sample variance has relative error sqrt(2 / draws) = 0.7 %, the next order is of size factor / n_eff
    room = 4 * math.sqrt(2 / draws) + 8 * float(noise.gaussian_factor(std)) / effective
    ratio = float(output.var() / noise.output_variance(scores, values, std))
    assert abs(ratio - 1) < room, (ratio, room)
    standard_error = float(output.std()) / math.sqrt(draws)
    bias = float(output.mean() - torch.softmax(scores, -1) @ values)
    assert abs(bias - float(noise.output_bias(scores, values, std))) < 4 * standard_error + room * abs(bias)


def test_shapes_dtype_and_masks():
    scores, values = row()
    batch = scores.expand(2, 4, 111)
    assert noise.output_variance(batch, values.expand(2, 4, 111, 3), 0.3).shape == (2, 4, 3)
    assert noise.output_bias(batch, values[:, 0].expand(2, 4, 111), 0.3).shape == (2, 4)
    assert noise.output_variance(scores.float(), values.float(), 0.3).dtype == DOUBLE
    torch.testing.assert_close(
        noise.output_variance(scores, values, 0.3)[0], noise.output_variance(scores, values[:, 0], 0.3)
    )
    masked = scores.clone()
    masked[63:] = -math.inf
    torch.testing.assert_close(
        noise.output_variance(masked, values, 0.3), noise.output_variance(scores[:63], values[:63], 0.3)
    )


def test_limits():
    scores, values = row()
    assert bool((noise.output_variance(scores, values, 0.0) == 0).all())
    torch.testing.assert_close(
        noise.output_bias(torch.zeros(63), torch.arange(63.0), 1.0),
        torch.zeros((), dtype=DOUBLE),
        rtol=0,
        atol=1e-14,
    )  # flat weights: deviations cancel
    shifted = noise.output_variance(scores + 100, values - 7, 0.3)
    torch.testing.assert_close(shifted, noise.output_variance(scores, values, 0.3), rtol=1e-10, atol=0)


def test_gradients():
    scores, values = row(n=7)
    scores.requires_grad_(), values.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, v: noise.output_variance(s, v, 0.4), (scores, values))
    assert torch.autograd.gradcheck(lambda s, v: noise.output_bias(s, v, 0.4), (scores, values))


@pytest.mark.parametrize(
    "call, error, words",
    [
        (
            lambda s, v: noise.output_variance(s, v, -0.1),
            InvalidArgument,
            r"std must lie in \[0, inf\], got -0.1",
        ),
        (
            lambda s, v: noise.output_variance(s.long(), v, 0.1),
            TypeError,
            "scores must have a floating-point dtype",
        ),
        (
            lambda s, v: noise.output_variance(s, [1.0], 0.1),
            TypeError,
            "values must be a torch.Tensor, got list",
        ),
        (
            lambda s, v: noise.output_variance(s, v[:5], 0.1),
            InvalidArgument,
            r"shape \(4,\), got \(5, 3\)|for scores",
        ),
        (
            lambda s, v: noise.output_variance(s[:5], v, 0.1),
            InvalidArgument,
            r"scores of shape \(5,\), got \(111, 3\)",
        ),
        (lambda s, v: noise.output_variance(s, v[:5, 0], 0.1), InvalidArgument, r"got \(5,\)"),
        (lambda s, v: noise.output_bias(s + math.nan, v, 0.1), InvalidArgument, "scores contains NaN"),
        (
            lambda s, v: noise.output_bias(s - math.inf, v, 0.1),
            InvalidArgument,
            "finite maximum in each row, got -inf",
        ),
        (
            lambda s, v: noise.output_bias(s + math.inf, v, 0.1),
            InvalidArgument,
            "finite maximum in each row, got inf",
        ),
        (
            lambda s, v: noise.output_bias(s, v + math.inf, 0.1),
            InvalidArgument,
            "values must be finite, got inf",
        ),
        (lambda s, v: noise.output_bias(s[:0], v[:0], 0.1), InvalidArgument, "at least one entry"),
    ],
)
def test_bad_input(call, error, words):
    scores, values = row()
    with pytest.raises(error, match=words):
        call(scores, values)


def exact_over_leading(n, std):
    """Var of the output over n equal weights, values fixed, against the delta method's.

    With x_i = e^{std z_i}, Q = E sum p^2 = n int u E[x^2 e^{-ux}] (E e^{-ux})^(n-1) du; by symmetry E p_i^2 = Q/n
    and E p_i p_j = (1 - Q) / (n (n - 1)), so the variance is their difference times sum (v - mean)^2, where the
    delta method has (e^{std^2} - 1) / n^2.
    """
    z = torch.linspace(-9 - std, 9 + 2 * std, 1201, dtype=DOUBLE)
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    x = torch.exp(std * z)
    log_u = torch.linspace(-40 - math.log(n), 12 - math.log(n), 1201, dtype=DOUBLE)
    ux = torch.exp(log_u)[:, None] * x
    others = torch.exp((n - 1) * torch.log1p(torch.expm1(-ux) @ density))
    # u du = u^2 d log u
    squares = n * (((ux**2 * torch.exp(-ux)) @ density) * others).sum() * (log_u[1] - log_u[0])
    exact = squares / n - (1 - squares) / (n * (n - 1))
    return float(exact / (noise.gaussian_factor(std) / n**2))


def test_leading_order_ends_at_the_square_root_of_two_thirds_of_log_n():
    for n, measured in ((1e4, 0.056), (1e6, 0.026), (1e9, 0.009)):
        # sqrt(log n), which the documentation once named, is far beyond
        assert exact_over_leading(n, math.sqrt(math.log(n))) == pytest.approx(measured, abs=6e-4)
    lengths = (1e4, 1e7, 1e10, 1e13)
    below, at, above = (
        [exact_over_leading(n, share * math.sqrt(2 * math.log(n) / 3)) for n in lengths]
        for share in (0.7, 1.0, 1.3)
    )
    assert below == sorted(below) and below[-1] > 0.95
    assert above == sorted(above, reverse=True) and above[-1] < 0.05
    assert all(0.3 < ratio < 0.6 for ratio in at)
