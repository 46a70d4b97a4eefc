"""Which code counts as having made a number, and when its digest changes."""

import ast
import json
import textwrap
from pathlib import Path

import pytest

from proofbook.ledger.sources import Packages, code_cells, tree_digest

PACKAGE = {
    "__init__.py": (
        "import torch\nfrom torch import Tensor\n"
        "from lib import scale\nfrom lib.rows import total as sum_of\n"
        "from .alone import alone\nVERSION = 1"
    ),
    "scale.py": "import math\nfrom lib.errors import Bad",
    "rows.py": "def total(x):\n    from lib import _tiles\n    return _tiles.add(x)",
    "_tiles.py": "import os.path\nimport library",
    "alone.py": "def alone(): pass",
    "errors.py": "class Bad(Exception): pass",
    "sub/__init__.py": "from lib.sub.one import one",
    "sub/one.py": "from .deep import x",
    "sub/two.py": "import lib.scale as s",
    "sub/deep/__init__.py": "from ..two import y",
}
OTHER = {
    "__init__.py": "",
    "chart.py": "from other.style import BLUE\nimport lib as l\nl.alone()",
    "style.py": "from lib import rows\nBLUE = 'blue'",
    "handed.py": "import lib as l",
}
WHOLE = ["lib", "lib._tiles", "lib.alone", "lib.errors", "lib.rows", "lib.scale"]
SUB = ["lib.errors", "lib.scale", "lib.sub", "lib.sub.deep", "lib.sub.one", "lib.sub.two"]


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.fixture
def folders(tmp_path):
    return {"lib": lay_out(tmp_path / "lib", PACKAGE), "other": lay_out(tmp_path / "other", OTHER)}


REACH = {
    "import torch, library": [],
    "from library.lib import rows": [],
    "from lib.scale import f": ["lib.errors", "lib.scale"],
    "from lib import scale": ["lib.errors", "lib.scale"],
    "import lib.scale as s": ["lib.errors", "lib.scale"],
    "from lib import sum_of": ["lib._tiles", "lib.rows"],
    "from lib import alone": ["lib.alone"],
    "from lib import VERSION": WHOLE,
    "from lib import Tensor": WHOLE,  # which it has from elsewhere
    "from lib import *": WHOLE,
    "def f():\n    if True:\n        from lib import sum_of": ["lib._tiles", "lib.rows"],
    "from lib.sub.two import y": SUB,
    "from lib.sub import two": SUB,
    "import lib.sub.deep as d": SUB,
    # a package as a whole, and names taken of it
    "import lib": WHOLE,
    "import lib as l": WHOLE,
    "import lib as l\nl.alone()": ["lib.alone"],
    "import lib as l\nx = l.scale.f(l.alone)": ["lib.alone", "lib.errors", "lib.scale"],
    "import lib as l\nl.alone()\nl.VERSION": WHOLE,
    "import lib as l\nl.alone()\ngetattr(l, 'rows')": WHOLE,
    "import lib as l\nl.alone()\nl = 3": WHOLE,
    "import lib.alone": WHOLE,
    "import lib.alone\nlib.alone.alone()": ["lib.alone"],
    # two packages
    "from other.chart import f": ["lib.alone", "lib.rows", "lib._tiles", "other.chart", "other.style"],
    "from other.handed import l\nl.alone()": [*WHOLE, "other.handed"],
}


@pytest.mark.parametrize("code", REACH)
def test_what_an_import_statement_reaches(folders, code):
    assert list(Packages(folders).reached_from(code)) == sorted(REACH[code])


@pytest.mark.parametrize("code", [code for code in REACH if "other" not in code])
def test_a_module_reaches_what_its_code_does(folders, code):
    lay_out(folders["lib"], {"asked.py": code})
    reached = Packages(folders).reached("lib.asked")
    assert list(reached) == sorted([*REACH[code], "lib.asked"])
    assert reached["lib.asked"] == folders["lib"] / "asked.py"


def test_relative_imports_of_a_module(folders):
    lay_out(folders["lib"], {"asked.py": "from . import scale\nfrom .sub.two import y"})
    assert list(Packages(folders).reached("lib.asked")) == ["lib.asked", *SUB]


def test_what_is_ignored_does_not_count_nor_what_it_alone_imports(folders):
    reached = Packages(folders, ignore=["other.style"]).reached("other.chart")
    assert list(reached) == ["lib.alone", "other.chart"]


def test_reach_of_several_modules_is_the_union_whatever_the_order(folders):
    packages = Packages(folders)
    both = packages.reached("lib.rows", "lib.scale")
    assert list(both) == ["lib._tiles", "lib.errors", "lib.rows", "lib.scale"]
    assert both == packages.reached("lib.scale", "lib.rows", "lib.scale")
    assert list(packages.reached("lib")) == WHOLE


def test_a_circle_of_imports_ends(folders):
    lay_out(folders["lib"], {"a.py": "import lib.b as b", "b.py": "from lib import a"})
    assert list(Packages(folders).reached("lib.a")) == ["lib.a", "lib.b"]


@pytest.mark.parametrize("name", ["lib.nothing", "lib.sub.nothing", "absent", "library.rows"])
def test_a_module_that_is_not_there_is_named(folders, name):
    with pytest.raises(ModuleNotFoundError, match=name):
        Packages(folders).reached(name)


def test_an_import_that_leads_nowhere_is_named(folders):
    lay_out(folders["lib"], {"asked.py": "from lib.gone import x"})
    with pytest.raises(ModuleNotFoundError, match="lib.gone"):
        Packages(folders).reached("lib.asked")


def test_packages_are_found_where_python_has_them_or_beside(tmp_path):
    lay_out(tmp_path / "lying_beside", {"__init__.py": "", "a.py": ""})
    reached = Packages.found("json", "lying_beside", beside=tmp_path).reached(
        "json.decoder", "lying_beside.a"
    )
    assert reached["json.decoder"] == Path(json.__file__).parent / "decoder.py"
    assert reached["lying_beside.a"] == tmp_path / "lying_beside" / "a.py"
    packages = Packages.found("json", "lying_beside", beside=tmp_path / "elsewhere")
    assert list(packages.reached_from("from json import decoder")) == ["json.decoder", "json.scanner"]
    for code in ("import lying_beside", "from lying_beside.a import x"):
        with pytest.raises(ModuleNotFoundError, match="no module lying_beside"):
            packages.reached_from(code)


CODE = '''
import lib.scale as s

SPEED = 3.0
"""In metres a second."""


class A:
    """A class."""

    async def f(self, x, *rest, y: int = 1, **more) -> str:
        """What it does."""
        return f"{x!r:>10} of {more}" if rest else ("one " "two")


def g():
    """Nothing but words."""


x = [1, 2.0, 3j, b"a", None, ..., True, -1, {**{}, "a": 1}]
'''

SAME = {
    "comments": CODE.replace("SPEED = 3.0", "SPEED = 3.0  # fast"),
    "docstrings": CODE.replace("A class.", "Quite another class.").replace(
        '    """What it does."""\n    ', ""
    ),
    "words below a constant": CODE.replace("metres", "miles"),
    "layout": CODE.replace("def f(self, x, *rest,", "def f(\n        self,\n        x,\n        *rest,"),
    "quotes": CODE.replace('b"a"', "b'a'").replace('("one " "two")', "'one two'"),
    "parentheses": CODE.replace("SPEED = 3.0", "SPEED = (3.0)"),
}
OTHERS = {
    "a number": CODE.replace("3.0", "3.1"),
    "a kind of number": CODE.replace("[1,", "[1.0,"),
    "truth for one": CODE.replace("[1,", "[True,"),
    "a name": CODE.replace("SPEED", "PACE"),
    "a text": CODE.replace("one ", "One "),
    "a text in a format": CODE.replace(" of ", " off "),
    "a conversion": CODE.replace("!r", "!s"),
    "a default": CODE.replace("y: int = 1", "y: int = 2"),
    "bytes": CODE.replace('b"a"', '"a"'),
    "an import": CODE.replace("lib.scale", "lib.rows"),
    "order": CODE.replace("1, 2.0", "2.0, 1"),
    "a place": CODE.replace("*rest", "rest"),
    "async": CODE.replace("async ", ""),
    "one more statement": CODE + "y = 1\n",
}


@pytest.mark.parametrize("name", SAME)
def test_what_does_the_same_has_one_digest(name):
    assert SAME[name] != CODE
    assert tree_digest(ast.parse(SAME[name])) == tree_digest(ast.parse(CODE))


def test_what_does_something_else_has_another_digest():
    digests = {name: tree_digest(ast.parse(code)) for name, code in OTHERS.items()}
    assert len({*digests.values(), tree_digest(ast.parse(CODE))}) == len(OTHERS) + 1


def test_every_python_gives_one_digest():
    """Recorded under one and read under another, every record would look stale if this differed."""
    assert tree_digest(ast.parse(CODE)) == "ce0bd60e68183d62ec75beef94d08598ff1d989934e90df0aea32541001b24b4"


def test_a_digest_is_of_all_that_is_reached_and_of_nothing_else(folders, tmp_path):
    def digest(**changes):
        copy = lay_out(tmp_path / f"copy{len(seen)}" / "lib", {**PACKAGE, **changes})
        return Packages({"lib": copy}).digest("lib.rows")

    seen: list[str] = []
    for changes in (
        {},
        {"rows.py": PACKAGE["rows.py"].replace("_tiles.add(x)", "_tiles.sum(x)")},
        {"_tiles.py": "import os.path"},
        {"rows.py": PACKAGE["rows.py"] + "\nfrom lib import alone"},
    ):
        seen.append(digest(**changes))
    assert len(set(seen)) == len(seen) and seen[0] == Packages(folders).digest("lib.rows")
    for changes in ({"scale.py": "x = 1"}, {"_tiles.py": "import os.path  # of the system\nimport library"}):
        assert digest(**changes) == seen[0]


def test_a_renamed_module_is_another(folders):
    lay_out(folders["lib"], {"a.py": "x = 1", "b.py": "x = 1"})
    packages = Packages(folders)
    assert packages.digest("lib.a") != packages.digest("lib.b")


def test_a_chapter_is_its_own_code_and_what_it_reaches(folders):
    code = "from lib import alone\nx = 1\n"

    def digest(text):
        return Packages(folders).digest_of(text)

    first = digest(code)
    assert digest("from lib import alone  # words\n\n\nx = (1)") == first != digest(code + "x = 2")
    lay_out(folders["lib"], {"scale.py": "x = 2"})
    assert digest(code) == first
    lay_out(folders["lib"], {"alone.py": "def alone(): return 1"})
    assert digest(code) != first


def test_code_cells_leaves_out_text(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# not code\n", "1/0"]},
        {"cell_type": "code", "source": ["a = 1\n", "b = 2"]},
        {"cell_type": "code", "source": "c = 3"},
    ]
    path = tmp_path / "one.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    assert code_cells(path) == [textwrap.dedent("a = 1\nb = 2"), "c = 3"]
