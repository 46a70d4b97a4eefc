"""Model classes of transformers, of the dependency group `models`; without it these tests are skipped.

A run takes each class once. ``MODELS=all`` takes them with every attention, padding and cache: some minutes.
"""

import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_collection_modifyitems(config, items):
    here = [item for item in items if "tests/models" in item.path.as_posix()]
    try:
        import transformers  # noqa: F401
    except ModuleNotFoundError:
        skip = pytest.mark.skip(reason="transformers is not installed: pip install --group models")
        for item in here:
            item.add_marker(skip)
        return
    if os.environ.get("MODELS") == "all":
        return
    seen = set()
    left_out = []
    for item in here:
        name = getattr(item, "callspec", None) and item.callspec.params.get("name")
        if name is None:
            continue
        if (item.function, name) in seen:
            left_out.append(item)
        seen.add((item.function, name))
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
