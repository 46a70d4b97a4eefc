"""What a book must have and must not have, checked over its files.

Each check is a function of a `Shelf` (the book as read from disk) that returns its complaints, one line each.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from proofbook.publish import execute
from proofbook.publish.notebooks import VERDICTS, BookError, Page, load, pages, read_page

ARTICLE_EXERCISES = 4
GUIDES = ("use-it-on-your-model",)
"""Notebooks that show how to use the library: they derive and claim nothing, and have no card."""
SECTIONS = ("Takeaways", "Exercises", "References", "Cite this chapter")


@dataclass
class Shelf:
    """The book as its checks see it. Notebooks are read once, with stored or with executed outputs."""

    root: Path
    paths: list[Path]
    notebooks: dict[Path, dict]
    pages: dict[Path, Page]
    executed: bool

    @classmethod
    def read(cls, root: Path, *, executed: bool = False) -> "Shelf":
        paths = pages(root)
        notebooks, records = {}, {}
        for path in paths:
            if path.suffix == ".ipynb":
                file = execute.executed_path(root, path) if executed else root / path
                records[path] = read_page(file, path.with_suffix("").as_posix())
                notebooks[path] = execute.with_outputs(root, path) if executed else load(root / path)
        return cls(root, paths, notebooks, records, executed)

    def code_cells(self) -> Iterator[tuple[Path, int, dict]]:
        for path, notebook in self.notebooks.items():
            for index, cell in enumerate(notebook["cells"]):
                if cell["cell_type"] == "code":
                    yield path, index, cell

    def prose(self, path: Path) -> str:
        """All hand-written Markdown of a page, without its code."""
        if path in self.notebooks:
            cells = self.notebooks[path]["cells"]
            text = "\n\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
        else:
            text = (self.root / path).read_text(encoding="utf-8")
        return without_code(text)

    def data(self, name: str):
        """A YAML file of the book, or None where there is none."""
        file = self.root / "book" / name
        return yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None


_FENCE = re.compile(r"^\s*(`{3,}|~{3,}|:{3,})(.*)$")
_HOLDS_CODE = re.compile(r"(?!\{)|\{(code|code-block|code-cell|literalinclude)\}")


def without_code(text: str) -> str:
    """Markdown without code blocks and code spans; directives, which hold Markdown, stay.

    >>> without_code("a `$$` b\\n```\\n$$ x $$\\n```\\n```{note}\\n$$ y $$\\n```")
    'a  b\\n```{note}\\n$$ y $$\\n```'
    """
    kept: list[str] = []
    fences: list[str] = []
    code = False
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if fence and fences and fence[1].startswith(fences[-1]) and not fence[2].strip():
            fences.pop()
            if not code:
                kept.append(line)
            code = False
        elif code:
            continue
        elif fence:
            fences.append(fence[1])
            code = fence[1][0] != ":" and bool(_HOLDS_CODE.match(fence[2].strip()))
            if not code:
                kept.append(line)
        else:
            kept.append(re.sub(r"(?<!\})(`+)(?!`).+?(?<!`)\1(?!`)", "", line))
    return "\n".join(kept)


_DISPLAY = re.compile(
    r"\$\$(?P<dollars>.+?)\$\$"
    r"|\\\[(?P<brackets>.+?)\\\]"
    r"|^(?P<fence>`{3,}|:{3,})\{math\}[^\n]*\n(?P<directive>.*?)^(?P=fence)[ \t]*$"
    r"|^[ \t]*\\begin\{(?P<env>align|equation|gather|multline|eqnarray|alignat|flalign)(?P<star>\*?)\}"
    r"(?P<ams>.*?)"
    r"\\end\{(?P=env)(?P=star)\}",
    re.M | re.S,
)


def display_formulas(text: str) -> list[str]:
    """The display formulas typed in a piece of Markdown, white space made uniform.

    >>> display_formulas("Let\\n$$\\nH  = F\\n$$ (eq-h)\\nand $a$.")
    ['H = F']
    """
    found = []
    for match in _DISPLAY.finditer(text):
        body = next(
            match[name] for name in ("dollars", "brackets", "directive", "ams") if match[name] is not None
        )
        body = re.sub(r"^:\w[^\n]*\n", "", body, flags=re.M)  # a directive's options
        found.append(_uniform(body))
    return found


def _uniform(formula: str) -> str:
    return " ".join(formula.split())


def handwritten_formulas(shelf: Shelf) -> Iterator[str]:
    """Every display formula that no machine checked is listed, and says why it may stand."""
    listed = shelf.data("handwritten-formulas.yml") or []
    unused = {}
    for entry in listed:
        if set(entry) != {"page", "formula", "why"} or not all(
            str(value).strip() for value in entry.values()
        ):
            yield f"handwritten-formulas.yml: an entry needs page, formula and why: {entry}"
            continue
        unused[entry["page"], _uniform(entry["formula"])] = entry
    known = set(unused)
    for path in shelf.paths:
        name = path.with_suffix("").as_posix()
        for formula in display_formulas(shelf.prose(path)):
            if (name, formula) not in known:
                yield (
                    f"{path}: a display formula is typed by hand: {formula!r}. Let a checked object show it, "
                    "or list it with its reason in book/handwritten-formulas.yml"
                )
            unused.pop((name, formula), None)
    for name, formula in unused:
        yield f"handwritten-formulas.yml lists a formula that {name} does not have: {formula!r}"


def typed_outputs(shelf: Shelf) -> Iterator[str]:
    """No output shows a display formula that does not come with the record of a checked object."""
    for path, index, cell in shelf.code_cells():
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if any(mime.startswith("application/vnd.proofbook.") for mime in data):
                continue
            if "text/latex" in data or display_formulas(data.get("text/markdown", "")):
                yield f"{path}, cell {index}: an output shows a display formula that nothing checked"


_TYPED = re.compile(
    "|".join(rf"verdict-{verdict.replace(' ', '-')}\b" for verdict in VERDICTS)
    + r"|:name:\s*claim-\S+|\(claim-[\w-]+\)="
)


def typed_verdicts(shelf: Shelf) -> Iterator[str]:
    """A verdict is printed by its check, never typed."""
    for path in shelf.paths:
        for found in _TYPED.finditer(shelf.prose(path)):
            yield f"{path}: a verdict or a claim's anchor is typed by hand: {found[0]!r}"


def chapter_parts(shelf: Shelf) -> Iterator[str]:
    """Every chapter has its card, its sections, and, for an article, exercises with folded solutions."""
    articles = {article["id"]: article for article in shelf.data("articles.yml") or []}
    for path, page in shelf.pages.items():
        prose = shelf.prose(path)
        if path.stem in GUIDES:
            if page.card or page.claims or page.equations:
                yield f"{path}: a guide has a card, a claim or a derivation; those belong in a chapter"
            continue
        if page.card is None:
            yield f"{path}: the chapter has no {{chapter-card}}"
        headings = re.findall(r"^## +(.+?)\s*$", prose, re.M)
        for section in SECTIONS:
            if section not in headings:
                yield f"{path}: the chapter has no section '## {section}'"
        if "{cite-chapter}" not in prose:
            yield f"{path}: '## Cite this chapter' needs the directive {{cite-chapter}}"
        exercises = re.findall(
            r"^[`:]{3,}\{exercise(?:-start)?\}[^\n]*\n(?:\s*\n)*:label: *(\S+)", prose, re.M
        )
        solutions = re.findall(
            r"^[`:]{3,}\{solution(?:-start)?\} *(\S+)\s*\n((?:\s*:\w+:[^\n]*\n)*)", prose, re.M
        )
        for label in sorted(set(exercises) - {label for label, _ in solutions}):
            yield f"{path}: exercise {label} has no solution"
        for label, options in solutions:
            if "dropdown" not in options:
                yield f"{path}: the solution of {label} is not folded (:class: dropdown)"
        if not page.card or not page.card.get("article"):
            continue
        if len(exercises) < ARTICLE_EXERCISES:
            yield f"{path}: {len(exercises)} labelled exercises, fewer than {ARTICLE_EXERCISES}"
        article = articles.get(page.card["article"])
        if article is None:
            yield f"{path}: article {page.card['article']} is not in articles.yml"
            continue
        for key in ("title_zh", "date", "link"):
            if page.card[key] != article[key]:
                yield f"{path}: the card's {key} is {page.card[key]!r}, articles.yml has {article[key]!r}"


def figures(shelf: Shelf) -> Iterator[str]:
    """Every figure has a text for those who cannot see it, a caption, and a name to link to."""
    for path, index, cell in shelf.code_cells():
        if not any(
            mime.startswith("image/") for output in cell.get("outputs", []) for mime in output.get("data", {})
        ):
            continue
        shown = cell.get("metadata", {}).get("mystnb", {})
        figure = shown.get("figure", {})
        if not shown.get("image", {}).get("alt", "").strip():
            yield f"{path}, cell {index}: the figure has no alt text (metadata mystnb.image.alt)"
        if not figure.get("caption", "").strip():
            yield f"{path}, cell {index}: the figure has no caption (metadata mystnb.figure.caption)"
        if not re.fullmatch(r"fig-[a-z0-9-]+", figure.get("name", "")):
            yield f"{path}, cell {index}: the figure's name must be fig-..., not {figure.get('name')!r}"


def claims(shelf: Shelf) -> Iterator[str]:
    """Every claim listed for a chapter that is in the book has passed its check there, and nowhere else."""
    listed: dict[str, str] = {}
    for file in sorted((shelf.root / "book" / "claims").glob("*.toml")):
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        listed.update({claim: content["chapter"] for claim in content["claims"]})
    home = {claim["id"]: path.stem for path, page in shelf.pages.items() for claim in page.claims}
    chapters = {path.stem for path in shelf.pages}
    for claim, chapter in listed.items():
        if chapter in chapters and home.get(claim) is None:
            yield f"{claim} is listed for {chapter}, but no cell there checks it"
        elif claim in home and home[claim] != chapter:
            yield f"{claim} is listed for {chapter} and checked in {home[claim]}"
    for claim in sorted(set(home) - set(listed)):
        yield f"{claim} is checked in {home[claim]} and not listed in book/claims/"


def permalinks_of(shelf: Shelf) -> list[str]:
    """Every address inside the book that a reader may have cited, as ``page#anchor``, in reading order."""
    return [f"{page.docname}#{anchor}" for page in shelf.pages.values() for anchor in _anchors(page)]


def _anchors(page: Page) -> list[str]:
    return (
        [claim["anchor"] for claim in page.claims]
        + [f"equation-{equation['label']}" for equation in page.equations]
        + page.figures
    )


def permalinks(shelf: Shelf) -> Iterator[str]:
    """Names are unique over the book, and what was once published stays where it was."""
    owner: dict[str, str] = {}
    for page in shelf.pages.values():
        for anchor in _anchors(page):
            if anchor in owner:
                yield f"the name {anchor} is given twice: in {owner[anchor]} and in {page.docname}"
            owner[anchor] = page.docname
    present = set(permalinks_of(shelf))
    for line in published_permalinks(shelf.root):
        if line not in present:
            yield f"the published permalink {line} has vanished"


def published_permalinks(root: Path) -> list[str]:
    """The lines of ``book/permalinks.txt``."""
    file = root / "book" / "permalinks.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def publish_permalinks(root: Path) -> list[str]:
    """Append to ``book/permalinks.txt`` the permalinks it does not have yet; return them."""
    known = published_permalinks(root)
    new = [line for line in permalinks_of(Shelf.read(root)) if line not in set(known)]
    header = "# Permalinks of published editions. They may be added to, never removed.\n"
    (root / "book" / "permalinks.txt").write_text(
        header + "".join(f"{line}\n" for line in known + new), encoding="utf-8"
    )
    return new


_MARKER = re.compile(r"^\s*#+\s*(NBVAL_[A-Z_]+|PYTEST_VALIDATE_[A-Z_]+)\s*$")


def unchecked_cells(shelf: Shelf) -> Iterator[str]:
    """Every code cell is compared with its stored output, or says in words why not."""
    for path, index, cell in shelf.code_cells():
        where = f"{path}, cell {index}"
        tags = cell.get("metadata", {}).get("tags", [])
        if any(tag.lower().startswith("nbval") for tag in tags):
            yield f"{where}: nbval is steered by a tag, which no reader sees; use a comment with its reason"
        lines = cell["source"].splitlines()
        for number, line in enumerate(lines):
            marker = _MARKER.match(line)
            after = lines[number + 1].strip() if number + 1 < len(lines) else ""
            if marker and not (after.startswith("#") and len(after.split()) > 3):
                yield f"{where}: {marker[1]} needs its reason as a comment on the next line"
        for output in cell.get("outputs", []):
            if output["output_type"] == "error" and "raises-exception" not in tags:
                yield f"{where}: the stored output is an error: {output.get('ename')}"
            if output["output_type"] == "stream" and output["name"] == "stderr":
                yield f"{where}: something was printed to stderr: {output['text'].strip().splitlines()[0]}"


def stored_notebooks(shelf: Shelf) -> Iterator[str]:
    """Stored outputs come from one run of the whole notebook, and notebooks keep no editor's traces."""
    import nbformat

    if shelf.executed:
        return
    for path, notebook in shelf.notebooks.items():
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"].strip()]
        # nbval compares nothing in a cell that was never run.
        if [cell["execution_count"] for cell in cells] != list(range(1, len(cells) + 1)):
            yield f"{path}: the outputs are not those of one whole run; run `make execute`"
        tidy = nbformat.from_dict(notebook)
        execute.normalize(tidy)
        if nbformat.writes(tidy) != nbformat.writes(nbformat.from_dict(load(shelf.root / path))):
            yield f"{path}: the file holds an editor's traces; run `make execute`"


def strays(shelf: Shelf) -> Iterator[str]:
    """No page lies in the book without being part of it."""
    for file in sorted((shelf.root / "book").rglob("*")):
        relative = file.relative_to(shelf.root)
        if (
            file.suffix in (".ipynb", ".md")
            and relative not in shelf.paths
            and not any(part.startswith((".", "_")) for part in relative.parts)
        ):
            yield f"{relative} is not in _toc.yml"


CHECKS = (
    handwritten_formulas,
    typed_outputs,
    typed_verdicts,
    chapter_parts,
    figures,
    claims,
    permalinks,
    unchecked_cells,
    stored_notebooks,
    strays,
)


def check_book(root: Path, *, executed: bool = False, checks: Iterable = CHECKS) -> list[str]:
    """Every complaint of every check, in the order of `CHECKS`.

    With `executed` the outputs of the last run are looked at, otherwise the ones stored in the notebooks.
    """
    try:
        shelf = Shelf.read(root, executed=executed)
    except BookError as error:
        return [str(error)]
    return [complaint for check in checks for complaint in check(shelf)]
