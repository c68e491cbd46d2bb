"""README and docs: links that lead somewhere, commands and options that exist, reasons that are explained."""

import ast
import importlib.util
import posixpath
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import typer
import yaml

from rb2v.artifacts import REASONS, REMEDIES
from rb2v.cli import app
from rb2v.stages.doctor import CHECKS
from rb2v.stages.synthesize.gates import REJECTIONS
from rb2v.stages.synthesize.stage import SURPLUS

ROOT = Path(__file__).parent.parent
DOCS = sorted([*(ROOT / "docs").rglob("*.md")])
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, *sorted((ROOT / "models").glob("*.md"))]


def load_site():
    """Return the hook that generates pages of the site."""
    specification = importlib.util.spec_from_file_location("site_pages", ROOT / ".ci" / "site.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def anchors(path):
    """Return the names of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_to_a_heading(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"https?:", target):
            continue
        name, _, heading = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.is_file() or (heading and path.suffix == ".md" and heading not in anchors(path)):
            broken.append(target)
    assert broken == []


def test_the_index_leads_to_every_page():
    index = (ROOT / "docs" / "index.md").read_text()
    missing = [
        page.name for page in DOCS if page.name != "index.md" and f"({page.relative_to(ROOT / 'docs')}" not in index
    ]
    assert missing == []


def test_the_site_lists_every_page():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    listed = set(re.findall(r"[\w/]+\.md", str(nav)))
    pages = {str(page.relative_to(ROOT / "docs")) for page in DOCS} | set(load_site().OUTSIDE.values())
    assert listed == {page for page in pages if page.endswith(".md")}


def test_links_of_pages_from_outside_lead_into_the_site():
    site = load_site()
    places = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*")}
    places |= set(site.OUTSIDE.values())
    for source, place in site.OUTSIDE.items():
        text = site.relink((ROOT / source).read_text(), source)
        targets = re.findall(r"\]\(([^)#\s:]+)[)#]", text)
        assert {posixpath.normpath(posixpath.join(posixpath.dirname(place), target)) for target in targets} <= places


def test_pages_of_commands_hold_no_link_by_accident():
    lines = [line for _, text in load_site().command_pages() for line in text.splitlines()]
    rows = [line for line in lines if line.startswith("| <code>")]
    assert len(rows) > 100
    assert not [row for row in rows if "[" in row], "[default: 1] [x>=0] is a link in Markdown"


def test_troubleshooting_explains_every_reason_and_check():
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    explained = {name for line in text.splitlines() if line.startswith("|") for name in re.findall(r"`([\w-]+)`", line)}
    assert {*filter(None, REASONS), *REJECTIONS, SURPLUS, *CHECKS} <= explained
    assert set(REMEDIES) == set(filter(None, REASONS))


def commands_in(text):
    """Return the words of every rb2v command in a page's blocks of code, without comments."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, flags=re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("rb2v "):
                yield line.partition(" #")[0].split()[1:]


def find_command(words):
    """Return the command that words name, and the words left over."""
    command = typer.main.get_command(app)
    while words and hasattr(command, "get_command"):
        below = command.get_command(command.make_context("rb2v", [], resilient_parsing=True), words[0])
        if below is None:
            break
        command, words = below, words[1:]
    return getattr(command, "commands", {}).get("data", command), words  # what 'rb2v benchmark' means by itself


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_pages_have_the_options_that_they_name(page):
    unknown = []
    for words in commands_in(page.read_text()):
        if words[0].startswith("-") or words[0].isupper():
            continue
        command, rest = find_command(words)
        known = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
        named = {word.partition("=")[0] for word in rest if word.startswith("--") and word != "--help"}
        if command.name == "rb2v" or not named <= known:
            unknown.append(" ".join(words))
    assert unknown == []


def test_the_site_has_a_page_for_each_command_and_package():
    site = load_site()
    commands = dict(site.command_pages())
    assert "--raw-dir" in commands["commands/align.md"]
    assert "## rb2v benchmark order" in commands["commands/benchmark.md"]
    reference = dict(site.reference_pages())
    assert "::: rb2v.training.data.ShardDataset" in reference["reference/rb2v.md"]
    for text in reference.values():
        for name in re.findall(r"^::: (\S+)$", text, flags=re.M):
            path = ROOT.joinpath(*name.split("."))
            module = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path.parent.with_suffix(".py")
            module = module if module.is_file() else path.parent / "__init__.py"
            assert path.name in module.read_text() or path.with_suffix(".py") == module, name


def test_links_out_of_docs_lead_to_pages_of_the_site():
    site = load_site()
    assert site.relink("[a](../README.md#quick-start)", "docs/index.md") == "[a](readme.md#quick-start)"
    assert site.relink("[a](docs/rigs.md)", "README.md") == "[a](rigs.md)"
    assert site.relink("[a](../docs/models.md)", "models/README.md") == "[a](../models.md)"
    assert site.relink("[a](https://example.org/a.md)", "docs/index.md") == "[a](https://example.org/a.md)"


EXAMPLES = {
    "look_at_shards": ("{shards}", "{out}/look.png"),
    "train_order_network": ("{shards}", "{out}/run", "2"),
    "deblur_image": ("{image}", "{out}/out.gif"),
    "own_order_network": ("{shards}", "2"),
}


def test_there_is_a_test_of_every_script_to_copy():
    assert {path.stem for path in (ROOT / "docs" / "examples").glob("*.py")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_scripts_to_copy_run_on_a_tiny_data_set(name, tiny_shards, tmp_path, monkeypatch, capsys):
    image = tmp_path / "photo.png"
    PIL.Image.fromarray(np.tile(np.arange(0, 192, 4, dtype=np.uint8)[:, None, None], (1, 48, 3))).save(image)
    arguments = [text.format(shards=tiny_shards, out=tmp_path, image=image) for text in EXAMPLES[name]]
    script = ROOT / "docs" / "examples" / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    for argument in arguments:
        if argument.startswith(str(tmp_path)) and argument != str(image):
            assert Path(argument).exists()
    assert re.search(
        {"look_at_shards": r"dB", "train_order_network": r"'hit'", "own_order_network": r"hit "}.get(name, "7 frames"),
        printed,
    )


def test_the_words_of_the_checker():
    words = runpy.run_path(str(ROOT / ".ci" / "check_words.py"))
    texts = words["Texts"]()
    for line in ("the colour of it", "they knocked it", "a plain line"):
        words["check_words"](texts, line, line)
    assert [fault.partition(":")[0] for fault in texts.faults] == ["the colour of it", "they knocked it"]
    assert words["docstring_blocks"](
        ast.get_docstring(ast.parse('"""Do it.\n\nReturns\n-------\nint\n    A size.\n"""'))
    )
    assert words["split_sentences"]("One. `two` and three. Four, e.g. five") == [
        "One.",
        "Code and three.",
        "Four, e.g. five",
    ]
