"""The article's iteration against the article's own code, and where it leaves the right root."""

import math

import numpy as np
import pytest
import torch

from attnlib import normalize_entropy, shannon_entropy
from experiments.article_iteration import article_iteration


def as_published(p, target: float, steps: int) -> float:
    """The update of https://kexue.fm/archives/8829, line by line, with the product of its factors."""
    p, power = np.asarray(p, dtype=float), 1.0
    for _ in range(steps):
        entropy = -(p * np.log(p)).sum()
        factor = 1 + (target - entropy) / (entropy**2 - (p * np.log(p) ** 2).sum())
        p, power = p**factor / (p**factor).sum(), power * factor
    return power


@pytest.mark.parametrize("on_logs", [True, False])
@pytest.mark.parametrize("target", [0.3, 0.8, 1.2])
def test_it_is_the_published_update(on_logs, target):
    p = torch.softmax(torch.tensor([0.3, -1.0, 1.5, 0.0], dtype=torch.float64), -1)
    powers = article_iteration(p, target, 5, on_logs=on_logs)
    assert powers.shape == (6,)
    expected = [as_published(p.numpy(), target, steps) for steps in range(6)]
    assert powers.numpy() == pytest.approx(expected, rel=1e-9)


def test_it_takes_rows_of_a_batch_on_their_own():
    p = torch.softmax(torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).double(), -1)
    target = torch.linspace(0.9, 1.4, 7, dtype=torch.float64)
    together = article_iteration(p, target, 4)
    alone = [article_iteration(one, wanted, 4) for one, wanted in zip(p, target)]
    assert together == pytest.approx(torch.stack(alone, 1), rel=1e-12)


def test_a_short_first_step_finds_the_root():
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    assert article_iteration(p, 0.8, 8)[-1].item() == pytest.approx(normalize_entropy(p, 0.8).gamma.item())


def test_it_may_end_on_the_wrong_side_of_zero():
    p = torch.tensor([0.99, 0.01], dtype=torch.float64)
    power = article_iteration(p, math.log(2) / 2, 60)[-1]
    assert power.item() == pytest.approx(-0.45493, abs=1e-5)
    assert shannon_entropy(torch.softmax(power * p.log(), -1)).item() == pytest.approx(math.log(2) / 2)


def test_a_weight_of_zero_is_left_out_on_logs_and_breaks_the_published_form():
    p = torch.tensor([0.7, 0.3, 0.0], dtype=torch.float64)
    assert article_iteration(p, 0.3, 3) == pytest.approx(article_iteration(p[:2], 0.3, 3), rel=1e-12)
    assert article_iteration(p, 0.3, 3, on_logs=False)[-1].isnan()
