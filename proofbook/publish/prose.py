"""Hand-written Markdown: what of it is code, its display formulas, and the numbers that cells fill in."""

import re
from collections.abc import Callable, Iterator

FENCE = re.compile(r"^\s*(`{3,}|~{3,}|:{3,})(.*)$")
HOLDS_CODE = re.compile(r"(?!\{)|\{(code|code-block|code-cell|literalinclude)\}")
_SPAN = re.compile(r"(?P<role>\{[\w:-]+\})?(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)")


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Markdown in pieces, in order, each with whether it is code: lines of a block of code, or a code span.

    Directives hold Markdown; their fences count as such, those of code as code. So do roles.

    >>> list(pieces("a `b`\\n```\\nc\\n```"))
    [('a ', False), ('`b`', True), ('\\n', False), ('```\\n', True), ('c\\n', True), ('```', True)]
    >>> list(pieces("{eq}`a` of {eq}`b` and `c`"))
    [('{eq}`a` of {eq}`b` and ', False), ('`c`', True)]
    """
    fences: list[str] = []
    code = False
    for line in text.splitlines(keepends=True):
        fence = FENCE.match(line)
        if fence and fences and fence[1].startswith(fences[-1]) and not fence[2].strip():
            fences.pop()
            yield line, code
            code = False
        elif code:
            yield line, True
        elif fence:
            fences.append(fence[1])
            code = fence[1][0] != ":" and bool(HOLDS_CODE.match(fence[2].strip()))
            yield line, code
        else:
            end = 0
            for span in _SPAN.finditer(line):
                if span["role"]:  # what stands between two roles is between backticks, too, and no code
                    continue
                if line[end : span.start()]:
                    yield line[end : span.start()], False
                yield span[0], True
                end = span.end()
            if line[end:]:
                yield line[end:], False


def without_code(text: str) -> str:
    """Markdown without code blocks and code spans; directives, which hold Markdown, stay.

    >>> without_code("a `$$` b\\n```\\n$$ x $$\\n```\\n```{note}\\n$$ y $$\\n```")
    'a  b\\n```{note}\\n$$ y $$\\n```'
    """
    return "".join(piece for piece, code in pieces(text) if not code)


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
        found.append(uniform(body))
    return found


def uniform(text: str) -> str:
    """A text with each run of white space as one blank."""
    return " ".join(text.split())


_NUMBER = re.compile(r"\{\{(?:(?P<page>[\w.-]+):)?(?P<name>[a-z][a-z0-9_]*)\}\}")


def numbers_named(text: str) -> list[tuple[str | None, str]]:
    """The numbers that a text names, each with the page that it is of where it says another than its own.

    >>> numbers_named("`{{a}}` rows of {{n}}, slope {{other-page:slope}}")
    [(None, 'n'), ('other-page', 'slope')]
    """
    return [(found["page"], found["name"]) for found in _NUMBER.finditer(without_code(text))]


def with_numbers(text: str, number: Callable[[str | None, str], str]) -> str:
    """A text with the numbers that it names printed; code in it stays as it is.

    >>> with_numbers("`{{a}}`: rows of {{n}}", lambda page, name: "512")
    '`{{a}}`: rows of 512'
    """

    def fill(piece: str) -> str:
        return _NUMBER.sub(lambda found: number(found["page"], found["name"]), piece)

    return "".join(piece if code else fill(piece) for piece, code in pieces(text))
