"""What the tests of derivations share."""

import pytest

from proofbook.derive import proving, strategies


@pytest.fixture
def evidence_alone(monkeypatch):
    """The kernel and the attack on what is typed stand aside: a step rests on the evidence for it."""

    def settle(relation, left, right, domain, *, seed, digits, regime=None, skip=(), **of_the_proof):
        if regime is not None:
            return strategies.approximation(left, right, domain, regime)
        if relation == "=":
            return strategies.equality(left, right, domain, seed=seed, digits=digits, skip=skip)
        return strategies.inequality(relation, left, right, domain, seed=seed)

    monkeypatch.setattr(proving, "settle", settle)
