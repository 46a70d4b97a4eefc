"""The code that makes a number: what a chapter or module reaches by imports, and a digest of what it does."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

__all__ = ["Packages", "code_cells", "tree_digest"]


class Packages:
    """Packages of Python source, and what code reaches of them.

    Importing from a subpackage reaches its ``__init__`` and what that imports. Importing from a package
    itself, or taking a name from it as in ``import lib`` and ``lib.name``, reaches only the module that holds
    the name, so that unrelated modules do not count; a name that its ``__init__`` defines, or any other use
    of the package, reaches all that it imports.

    Args:
        folders: The folder of each package by its name.
        ignore: Modules, named in full, that make no number; what they import does not count either.
    """

    def __init__(self, folders: Mapping[str, Path], *, ignore: Iterable[str] = ()):
        self._folders = dict(folders)
        self._ignored = frozenset(ignore)
        self._trees: dict[str, ast.Module] = {}
        self._needs: dict[str, list[str]] = {}
        self._imported: dict[str, dict[str, list[tuple[ast.alias, str | None]]]] = {}
        self._digests: dict[str, str] = {}

    @classmethod
    def found(cls, *names: str, beside: Path | None = None, ignore: Iterable[str] = ()) -> Packages:
        """The packages of those names where Python would import them from, or in the folder ``beside``.

        One that is in neither place, as benchmarks not taken along to a device, is missed when it is reached.
        """
        folders = {}
        for name in names:
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin is not None and spec.submodule_search_locations:
                folders[name] = Path(spec.origin).parent
            else:
                folders[name] = (beside or Path.cwd()) / name
        return cls(folders, ignore=ignore)

    def reached(self, *modules: str) -> dict[str, Path]:
        """The modules that ``modules``, named in full, reach by import statements, and their files.

        Raises:
            ModuleNotFoundError: one of them, or one that is imported, is not there.
        """
        return self._closure(modules)

    def reached_from(self, code: str) -> dict[str, Path]:
        """The modules that a piece of code reaches, such as a chapter's cells; with their files."""
        return self._closure(self._imports(ast.parse(code), package=""))

    def digest(self, *modules: str) -> str:
        """A digest of the code that ``modules`` reach: of the modules' names and syntax trees."""
        return self._digest({name: self._digest_of(name) for name in self.reached(*modules)})

    def digest_of(self, code: str) -> str:
        """A digest of a piece of code and of what it reaches."""
        of_modules = {name: self._digest_of(name) for name in self.reached_from(code)}
        return self._digest({"": tree_digest(ast.parse(code)), **of_modules})

    @staticmethod
    def _digest(digests: Mapping[str, str]) -> str:
        sha = hashlib.sha256()
        for name in sorted(digests):
            sha.update(f"{name}\0{digests[name]}\n".encode())
        return sha.hexdigest()

    def _digest_of(self, module: str) -> str:
        if module not in self._digests:
            self._digests[module] = tree_digest(self._tree(module))
        return self._digests[module]

    def _closure(self, modules: Iterable[str]) -> dict[str, Path]:
        found: dict[str, Path] = {}
        ahead = list(modules)
        while ahead:
            name = ahead.pop()
            path = self._path(name)
            if path is None:
                where = ", ".join(map(str, self._folders.values()))
                raise ModuleNotFoundError(f"no module {name} in {where}", name=name)
            if name not in found and name not in self._ignored:
                found[name] = path
                ahead += _parents(name)
                ahead += self._needed_by(name)
        return dict(sorted(found.items()))

    def _needed_by(self, module: str) -> list[str]:
        """What a module imports, read once, however many chapters reach it."""
        if module not in self._needs:
            self._needs[module] = list(self._imports(self._tree(module), self._package(module)))
        return self._needs[module]

    def _knows(self, module: str) -> bool:
        return module.split(".")[0] in self._folders

    def _path(self, module: str) -> Path | None:
        """The file of a module; None where no package has such a module."""
        top, *parts = module.split(".")
        if top not in self._folders:
            return None
        folder = self._folders[top].joinpath(*parts)
        candidates = [folder / "__init__.py"] + ([folder.with_name(f"{parts[-1]}.py")] if parts else [])
        return next((path for path in candidates if path.is_file()), None)

    def _package(self, module: str) -> str:
        """The package that relative imports of a module are relative to."""
        path = self._path(module)
        return module if path is not None and path.name == "__init__.py" else module.rpartition(".")[0]

    def _tree(self, module: str) -> ast.Module:
        if module not in self._trees:
            path = self._path(module)
            assert path is not None
            self._trees[module] = ast.parse(path.read_bytes(), str(path))
        return self._trees[module]

    def _imports(self, tree: ast.Module, package: str) -> Iterator[str]:
        """The modules of the packages that code in ``package`` needs by its own import statements."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in filter(lambda alias: self._knows(alias.name), node.names):
                    yield from self._taken(tree, alias)
            elif isinstance(node, ast.ImportFrom) and self._knows(base := _base(node, package)):
                for alias in node.names:
                    yield from self._homes(base, alias.name)

    def _taken(self, tree: ast.Module, alias: ast.alias) -> Iterator[str]:
        """What ``import lib`` or ``import lib.module``, perhaps under another name, needs of the package."""
        top = alias.name.split(".")[0]
        if alias.name != top:
            yield alias.name
            if alias.asname is not None:
                return  # what it binds is that module
        attributes = _attributes(tree, alias.asname or top)
        if attributes:
            for name in sorted(attributes):
                yield from self._homes(top, name)
        else:
            yield top

    def _homes(self, base: str, name: str) -> Iterator[str]:
        """The modules that ``from base import name`` needs."""
        if self._path(f"{base}.{name}"):
            yield f"{base}.{name}"
            return
        for alias, origin in self._bound(base, name):
            if origin is None:
                yield alias.name  # a package that one module hands to another counts whole
            elif base in self._folders and self._knows(origin):
                yield from self._homes(origin, alias.name)
                return
        yield base

    def _bound(self, module: str, name: str) -> list[tuple[ast.alias, str | None]]:
        """The imports by which a module has ``name``, each with its origin; None for a package itself."""
        if module not in self._imported:
            by_name = self._imported[module] = {}
            for alias, origin in self._bindings(module):
                by_name.setdefault(alias.asname or alias.name, []).append((alias, origin))
        return self._imported[module].get(name, [])

    def _bindings(self, module: str) -> Iterator[tuple[ast.alias, str | None]]:
        for node in ast.walk(self._tree(module)) if self._path(module) else ():
            if isinstance(node, ast.ImportFrom):
                yield from ((alias, _base(node, self._package(module))) for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from ((alias, None) for alias in node.names if self._knows(alias.name))


def _parents(module: str) -> list[str]:
    """The subpackages that a module lies in."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(2, len(parts))]


def _base(node: ast.ImportFrom, package: str) -> str:
    """The module, named in full, from which a statement in ``package`` imports."""
    return importlib.util.resolve_name("." * node.level + (node.module or ""), package)


def _attributes(tree: ast.Module, name: str) -> set[str] | None:
    """The attributes that are taken of ``name``; None where it is not used, or in another way as well."""
    uses = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))
    taken = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    ]
    return set(taken) if taken and len(taken) == uses else None


def code_cells(notebook: Path) -> list[str]:
    """The code of a notebook, cell by cell."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def tree_digest(tree: ast.AST) -> str:
    """A digest of what code does: of its syntax tree without comments, docstrings and layout.

    It is the same under every Python that reads the code, which ``ast.dump`` is not.

    >>> tree_digest(ast.parse("x = (1 +  2)  # three")) == tree_digest(ast.parse("x = 1 + 2"))
    True
    >>> tree_digest(ast.parse("x = 1 + 2")) == tree_digest(ast.parse("x = 2 + 1"))
    False
    """
    return hashlib.sha256(_plain(tree).encode()).hexdigest()


# Of a name, whether it is read or set, which its place tells; marks and comments that have no meaning.
_UNTOLD = {"ctx", "kind", "type_comment", "type_ignores"}


def _plain(part: object) -> str:
    """A part of a syntax tree as text, without what is empty: newer Pythons add fields that mostly are."""
    if isinstance(part, ast.Constant):
        return ascii(part.value)
    if isinstance(part, ast.AST):
        fields = [
            f"{name}={_plain(value)}"
            for name, value in ast.iter_fields(part)
            if name not in _UNTOLD and value is not None and value != []
        ]
        return f"{type(part).__name__}({', '.join(fields)})"
    if isinstance(part, list):
        return f"[{', '.join(_plain(one) for one in part if not _is_docstring(one))}]"
    return ascii(part)


def _is_docstring(part: object) -> bool:
    """Whether a statement is a text alone, which does nothing: a docstring, or the words below a constant."""
    return (
        isinstance(part, ast.Expr)
        and isinstance(part.value, ast.Constant)
        and isinstance(part.value.value, str)
    )
