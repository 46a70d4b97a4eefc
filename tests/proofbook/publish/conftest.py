"""The small book of the tests, laid out and built once for all that only read it."""

from pathlib import Path

import pytest
from built_site import build_here, lay_out

from proofbook.publish.book import Book
from proofbook.publish.objects import Objects


@pytest.fixture(scope="session")
def small_book(tmp_path_factory) -> Path:
    """The root of the small book; a test that changes it lays out its own."""
    return lay_out(tmp_path_factory.mktemp("small-book"))


@pytest.fixture(scope="session")
def small_site(small_book) -> Path:
    """The pages of the small book."""
    return build_here(small_book, strict=True)


@pytest.fixture(scope="session")
def objects(small_book) -> Objects:
    """The claims and equations of the small book."""
    return Objects(Book(small_book))
