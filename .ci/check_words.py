"""Measure the words of README, docs, help texts, errors and docstrings, and fail above the limits.

Limits for each kind of text: 14 words a sentence on average, fewer than 4 % of sentences over 30 words. Code, links and
tables are not counted as sentences. Also checked: first words of module docstrings, words that the style rejects,
British spellings, and lines of Markdown over 100 columns.

Usage: python .ci/check_words.py [--list N] [--markdown FOLDER] [FILE ...]

With --markdown the Markdown and reStructuredText of another project are measured, and nothing is checked. With --list
the N longest sentences of each kind are printed.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MEAN_WORDS = 14.0  # torchcodec, zarr and hloc have 12 to 15
LONG_WORDS = 30  # a sentence beyond it needs a second reading
LONG_SHARE = 0.04  # the same projects have 0 to 6 %
DOC_COLUMNS = 100  # a page is read beside code, in half a screen

FIRST_WORDS = ("What", "Which", "Whether", "How", "Where", "Whose")
REJECTED = {
    r"whole[- ]or[- ]absent": "atomic",
    r"held against": "compared with",
    r"(?:laid|lays|lay) aside": "spool, scratch file",
    r"(?:go|goes|going|went) on (?:from|where|with)": "resume",
    r"(?:stands|stand|stood) still|standstill": "static",
    r"knocked|bumped": "misaligned between takes",
    r"backdrops?\b(?!\.py|`)": "screen",
    r"learned from|taught": "fitted, trained",
    r"is no size|is no number|is no name": "is not a valid ...",
    r"tests hold": "the tests check that",
    r"LaidAside|MATTERS\b(?!\")|Equipment\b|from_first\b|is_told\b": "the name in words.md",
    r"on any picture|pictures? of (?:a|the) (?:video|recording)": "image, frame",
}
BRITISH = re.compile(
    r"colour|\bcentre|[a-z]centre|\bgrey|neighbour|behaviour|favour|honour|\blicence|artefact|judgement|"
    r"metre\b|metres\b|catalogue[ds]\b|programme\b|travell|labell|modell(?:ed|ing)|signall|cancell(?:ed|ing)(?!Error)|"
    r"(?:normal|optim|real|recogn|initial|random|summar|synchron|general|minim|maxim|organ|parametr|quant|"
    r"regular|serial|standard|util|visual|emphas|stabil|special|local|capital|memor|character|central)"
    r"is(?:e|ed|es|ing|ation)\b|analys(?:e|ed|ing)\b|\bgrammes?\b|\bwhilst\b|\bamongst\b|focuss",
    re.IGNORECASE,
)
_CODE_SPAN = re.compile(r"``[^`]+``|`[^`]+`")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')*_]*\s+(?=[A-Z0-9\"'(*_\[-])")
_WORD = re.compile(r"[^\W_][\w'.,/:%+=^-]*")
_ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|et al|cf|vs|eq|Eq|eqs|Fig|fig|Sec|sec|approx|No|max|min)\.")
_SECTION = re.compile(
    r"^(Parameters|Returns|Raises|Yields|Examples|References|Notes|Attributes|Warns|See Also)\n-+$", re.M
)


@dataclass
class Texts:
    """Sentences by kind, and faults by file."""

    sentences: dict[str, list[tuple[int, str, str]]] = field(default_factory=lambda: defaultdict(list))
    """Words, place and text of each sentence."""
    faults: list[str] = field(default_factory=list)

    def add(self, kind: str, place: str, text: str) -> None:
        """Count the sentences of a block of text."""
        for sentence in split_sentences(text):
            n_words = len(_WORD.findall(sentence))
            if n_words:
                self.sentences[kind].append((n_words, place, sentence))


def split_sentences(text: str) -> list[str]:
    """Split a block of prose into sentences; code spans count as one word.

    Examples
    --------
    >>> split_sentences("One idea. `a. B`, e.g. this: two")
    ['One idea.', 'Code, e.g. this: two']
    """
    plain = _LINK.sub(r"\1", _CODE_SPAN.sub("Code", " ".join(text.split())))
    plain = _ABBREVIATIONS.sub(lambda match: match[1].replace(".", "\0") + "\0", plain)
    return [sentence.replace("\0", ".").strip() for sentence in _SENTENCE_END.split(plain) if sentence.strip()]


def markdown_blocks(text: str) -> Iterator[tuple[int, str]]:
    """Return line and text of the paragraphs and list items of a Markdown page, without code, tables and headings."""
    block: list[str] = []
    start, fence = 1, ""
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        stripped = line.strip()
        if stripped.startswith(("```", "~~~")):
            fence = "" if fence else stripped[:3]
            stripped = ""
        elif (
            fence
            or stripped.startswith(("|", "#", "<", "!!!", ":::", "---", "===", ".. "))
            or (line.startswith("    ") and not block)
        ):
            stripped = ""
        is_item = re.match(r"(?:[-*+]|\d+\.)\s+", stripped)
        if block and (not stripped or is_item):
            yield start, " ".join(block)
            block = []
        if stripped:
            if not block:
                start = number
            block.append(stripped[is_item.end() :] if is_item else stripped)


def read_markdown(texts: Texts, path: Path, kind: str) -> None:
    """Collect the sentences of a page, and check its spelling and its lines."""
    text = path.read_text()
    for line, block in markdown_blocks(text):
        texts.add(kind, f"{path}:{line}", block)
    is_code = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        unbroken = max([len(match[0]) for match in _CODE_SPAN.finditer(line)], default=0)
        bare = _LINK.sub("", line)
        if (
            len(bare) > DOC_COLUMNS
            and unbroken < DOC_COLUMNS * 3 // 4  # a command in one span cannot be wrapped
            and not is_code
            and not line.lstrip().startswith(("|", "<", "http"))
        ):
            texts.faults.append(f"{path}:{number}: {len(line)} columns; expected at most {DOC_COLUMNS}")
        if not is_code:
            check_words(texts, f"{path}:{number}", _CODE_SPAN.sub("", _LINK.sub(r"\1", line)))


def check_words(texts: Texts, place: str, text: str) -> None:
    """Check one piece of text for rejected words and British spellings."""
    for pattern, instead in REJECTED.items():
        if match := re.search(rf"\b(?:{pattern})", text):
            texts.faults.append(f"{place}: {match[0]!r}; expected {instead}")
    if match := BRITISH.search(text):
        texts.faults.append(f"{place}: {match[0]!r} is British; expected American spelling")


def docstring_blocks(text: str) -> Iterator[str]:
    """Return the prose of a docstring: summary, paragraphs and the descriptions of its sections, without examples."""
    parts = _SECTION.split(text)
    for title, body in zip(["", *parts[1::2]], parts[::2], strict=True):
        if title in ("Examples", "References"):
            continue
        for _, block in markdown_blocks(body if not title else _without_names(body)):
            if not block.startswith(">>>"):
                yield block


def _without_names(body: str) -> str:
    # "name : type" lines of a section are no prose; what is indented under them is, an item each.
    lines = ["" if re.match(r"\S", line) else line.strip() for line in body.splitlines()]
    return "\n".join(lines)


def read_python(texts: Texts, path: Path) -> None:
    """Collect docstrings, help texts and error messages of a module, and check its words."""
    source = path.read_text()
    tree = ast.parse(source)
    if docstring := ast.get_docstring(tree):
        if docstring.split(maxsplit=1)[0].rstrip(",:") in FIRST_WORDS:
            texts.faults.append(f"{path}:1: begins with {docstring.split(maxsplit=1)[0]!r}; expected a noun phrase")
        _add_docstring(texts, path, tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            _add_docstring(texts, path, node)
        if isinstance(node, ast.ClassDef):
            _read_fields(texts, path, node)
        if isinstance(node, ast.Call):
            _read_call(texts, path, node)
    for number, line in enumerate(source.splitlines(), start=1):
        check_words(texts, f"{path}:{number}", line)


def _add_docstring(texts: Texts, path: Path, node: ast.Module | ast.ClassDef | ast.FunctionDef) -> None:
    if docstring := ast.get_docstring(node):
        place = f"{path}:{getattr(node, 'lineno', 1)}"
        for block in docstring_blocks(docstring):
            texts.add("docstrings", place, block)


def _read_fields(texts: Texts, path: Path, node: ast.ClassDef) -> None:
    for before, after in zip(node.body, node.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            is_config = any("config" in ast.unparse(decorator) for decorator in node.decorator_list)
            texts.add("help" if is_config else "docstrings", f"{path}:{after.lineno}", str(after.value.value))


_HELP_CALLS = ("files", "repeated_choice")  # of rb2v.cli, whose first or second argument is a help text
_ERRORS = ("InputError", "Rb2vError", "ConfigMismatchError", "BadParameter", "warning")


def _read_call(texts: Texts, path: Path, node: ast.Call) -> None:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    place = f"{path}:{node.lineno}"
    help_text = keywords.get("help")
    if name in _HELP_CALLS and node.args:
        help_text = node.args[min(len(node.args) - 1, _HELP_CALLS.index(name))]
    if help_text is not None and (text := _literal(help_text)):
        texts.add("help", place, text)
    if name in _ERRORS:
        message = "; expected ".join(
            text
            for text in (
                " ".join(filter(None, (_literal(argument) for argument in node.args))),
                _literal(keywords.get("expected")),
            )
            if text
        )
        texts.add("errors", place, message)


def _literal(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
    return ""


def report(texts: Texts, listed: int) -> list[str]:
    """Print words a sentence by kind; return the kinds that are above a limit."""
    above = []
    for kind, sentences in texts.sentences.items():
        counts = [count for count, _, _ in sentences]
        mean, share = sum(counts) / len(counts), sum(count > LONG_WORDS for count in counts) / len(counts)
        sys.stdout.write(
            f"{kind:12} {len(counts):6} sentences, {mean:5.1f} words on average, "
            f"{100 * share:4.1f} % over {LONG_WORDS}\n"
        )
        if mean > MEAN_WORDS or share >= LONG_SHARE:
            above.append(
                f"{kind}: {mean:.1f} words a sentence, {100 * share:.1f} % over {LONG_WORDS}; expected at most "
                f"{MEAN_WORDS:.0f} and less than {100 * LONG_SHARE:.0f} %\n"
            )
        for count, place, sentence in sorted(sentences, reverse=True)[:listed]:
            sys.stdout.write(f"    {count:3} {place}: {sentence}\n")
    return above


def main(arguments: list[str]) -> int:
    """Measure and check; return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--list", type=int, default=0)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args(arguments)
    texts = Texts()
    if options.markdown:
        for path in sorted([*options.markdown.rglob("*.md"), *options.markdown.rglob("*.rst")]):
            for line, block in markdown_blocks(path.read_text(errors="replace")):
                texts.add("pages", f"{path}:{line}", block)
        report(texts, options.list)
        return 0
    pages = ["*.md", "docs/**/*.md", "models/*.md", "findings/*.md"]
    files = options.files or [
        path for pattern in [*pages, "rb2v/**/*.py"] for path in sorted(Path().glob(pattern)) if not path.is_symlink()
    ]
    for path in files:
        if path.suffix == ".md":
            read_markdown(texts, path, "README" if path == Path("README.md") else "docs")
        else:
            read_python(texts, path)
    above = report(texts, options.list)
    sys.stderr.writelines([*(f"{fault}\n" for fault in texts.faults), *above])
    return 1 if texts.faults or above else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
