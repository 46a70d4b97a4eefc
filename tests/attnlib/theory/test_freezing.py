import math

import mpmath as mp
import pytest
import torch

from attnlib.errors import InvalidArgument
from attnlib.theory import freezing


def test_frozen_entropy_against_mpmath():
    m = torch.tensor(
        [1e-15, 1e-6, 0.1, 0.3, 0.5, 2 / 3, 0.9, 0.95, 0.98, 0.999999, 1 - 2.0**-50], dtype=torch.float64
    )
    with mp.workdps(50):
        expected = [mp.digamma(1) - mp.digamma(1 - mp.mpf(x)) for x in m.tolist()]
    for got, exact in zip(freezing.frozen_entropy(m).tolist(), expected):
        assert abs(float((mp.mpf(got) - exact) / exact)) < 4 * torch.finfo(torch.float64).eps


def test_frozen_entropy_is_that_of_poisson_dirichlet_weights():
    # size-biased sticks: m = 1/2, weights V_k prod (1 - V_j), V_k ~ Beta(1/2, k/2); H_PD = E[-log V_1]
    # size-biased
    with mp.workdps(30):
        m = mp.mpf("0.5")
        size_biased = mp.quad(lambda v: -mp.log(v) * v ** (-m) * (1 - v) ** (m - 1), [0, 0.5, 1]) / mp.beta(
            1 - m, m
        )
    assert abs(float(freezing.frozen_entropy(0.5)) - float(size_biased)) < 1e-13


def test_critical_std():
    assert float(freezing.critical_std(512)) == pytest.approx(math.sqrt(2 * math.log(512)), rel=1e-15)
    assert freezing.critical_std(1) == 0
    assert freezing.critical_std(torch.tensor([2, 4])).dtype == torch.float64


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: freezing.critical_std(0), InvalidArgument, r"n must lie in \[1, inf\], got 0.0"),
        (lambda: freezing.frozen_entropy(0), InvalidArgument, r"m must lie in \(0, 1\), got 0.0"),
        (lambda: freezing.frozen_entropy(torch.tensor([0.5, 1.0])), InvalidArgument, "got 1.0"),
        (lambda: freezing.frozen_entropy(float("nan")), InvalidArgument, "m must be finite"),
        (lambda: freezing.frozen_entropy(None), TypeError, "m must be a real number"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
