"""Tests marked `triton` need the package of that name, of the dependency group `triton`. It comes with
PyTorch's builds for CUDA, takes 1 GB on disk and is not in the lock; without it they are skipped, and say
so."""

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "triton: needs the package triton")


def pytest_collection_modifyitems(items):
    try:
        import triton.language  # noqa: F401
    except ModuleNotFoundError:
        skip = pytest.mark.skip(reason="triton is not installed: pip install --group triton (Linux)")
        for item in items:
            if item.get_closest_marker("triton"):
                item.add_marker(skip)
