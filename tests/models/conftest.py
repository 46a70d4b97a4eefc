"""These tests need transformers, of the dependency group `models`; without it they are skipped, and say
so."""

import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_collection_modifyitems(items):
    try:
        import transformers  # noqa: F401
    except ModuleNotFoundError:
        skip = pytest.mark.skip(reason="transformers is not installed: pip install --group models")
        for item in items:
            if "tests/models" in item.path.as_posix():
                item.add_marker(skip)
