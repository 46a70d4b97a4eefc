"""What only a GPU can show: these tests need a CUDA device, and without one are skipped and say so."""

import pytest
import torch


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="torch sees no CUDA device here")
    for item in items:
        item.add_marker(skip)
