"""Where the book and its repository live: one file, ``book/address.yml``, empty until there is an address.

What needs an address (repository, Colab and Binder buttons, canonical links, the URL in a citation) is built
from it, and left out while it is empty.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from proofbook.publish.notebooks import BookError


@dataclass(frozen=True)
class Address:
    """Repository and site, without trailing slashes; empty strings where there is none."""

    repository: str = ""
    branch: str = "main"
    site: str = ""

    def page(self, docname: str) -> str:
        """The public URL of a page, or an empty string."""
        return f"{self.site}/{docname}.html" if self.site else ""


def read_address(root: Path) -> Address:
    """The address in ``book/address.yml``; an empty one where there is no such file.

    Raises:
        BookError: the file cannot be read, or has a key or a URL that it may not have.
    """
    file = root / "book" / "address.yml"
    if not file.is_file():
        return Address()
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BookError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise BookError("book/address.yml must hold repository, branch and site")
    unknown = set(data) - {"repository", "branch", "site"}
    if unknown:
        raise BookError(f"book/address.yml has unknown keys {sorted(unknown)}")
    for key in ("repository", "site"):
        value = data.get(key) or ""
        if value and not str(value).startswith("https://"):
            raise BookError(f"book/address.yml: {key} must start with https://, not {value!r}")
        data[key] = value.rstrip("/")
    data["branch"] = str(data.get("branch") or "main")
    return Address(**data)


def theme_options(address: Address) -> dict[str, Any]:
    """The options of sphinx-book-theme that an address switches on."""
    if not address.repository:
        return {}
    return {
        "repository_url": address.repository,
        "repository_branch": address.branch,
        "path_to_docs": "",
        "use_repository_button": True,
        "use_issues_button": True,
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        },
    }
