"""Models of transformers, timm and x-transformers, of the dependency group `models`; what is not installed is
skipped.

A run takes each class once. ``MODELS=all`` takes them with every attention, padding and cache: some minutes.
"""

import importlib
import os
import warnings

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# What a file of tests needs.
NEEDS = {"test_timm.py": "timm", "test_x_transformers.py": "x_transformers"}


def missing(package: str) -> str | None:
    """Why a package cannot be had, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a package says of itself while it is imported
            importlib.import_module(package)
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed: pip install --group models"
    except (ImportError, RuntimeError) as error:
        # torchvision, which timm needs, fails so beside a torch of another build.
        return f"{package} cannot be imported ({error}): install the torchvision of this torch's build"
    return None


@pytest.fixture(autouse=True, scope="module")
def package(request):
    """Skips a file whose package is not installed."""
    reason = missing(NEEDS.get(request.path.name, "transformers"))
    if reason:
        pytest.skip(reason)


def pytest_collection_modifyitems(config, items):
    here = [item for item in items if "tests/models" in item.path.as_posix()]
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
