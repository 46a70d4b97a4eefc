"""Settings shared by the tests: one thread, fixed seeds, reproducible hypothesis runs."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("attnlib", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("attnlib")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Threads that outnumber free cores make small tensors tens of times slower."""
    torch.set_num_threads(1)


@pytest.fixture
def generator() -> torch.Generator:
    """A CPU generator with a fixed seed."""
    return torch.Generator().manual_seed(20211221)
