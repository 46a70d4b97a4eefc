"""Settings shared by the tests: one thread, fixed seeds, reproducible hypothesis runs."""

import pytest
import torch
from hypothesis import settings
from torch.utils._python_dispatch import TorchDispatchMode

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


class LargestTensor(TorchDispatchMode):
    """Remembers the largest store of numbers a tensor lay in that an operation returned, backward too."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else (out,):
            # One that is expanded holds nothing of its own.
            if isinstance(x, torch.Tensor) and 0 not in x.stride():
                self.numel = max(self.numel, x.untyped_storage().nbytes() // x.element_size())
        return out


@pytest.fixture
def largest_tensor() -> LargestTensor:
    """What measures the memory of a block: ``with largest_tensor as seen: ...``, then ``seen.numel``."""
    return LargestTensor()
