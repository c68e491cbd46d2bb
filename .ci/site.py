"""Pages of the documentation's site that are generated: commands, API reference, cards, findings and the front page.

A hook of MkDocs, see mkdocs.yml. Nothing is written beside the sources; the pages exist in the build alone.
"""

from __future__ import annotations

import ast
import html
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

OUTSIDE = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "CITATION.cff": "citation.cff",
    "models/README.md": "cards/index.md",
    **{f"models/{path.name}": f"cards/{path.name}" for path in sorted((ROOT / "models").glob("[a-z]*.md"))},
}
"""Pages of the repository outside of docs/, by their place in the site."""

_LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)]*)?\))")


def command_pages() -> Iterator[tuple[str, str]]:
    """Return place and text of a page for each command, from the command line itself."""
    import typer

    from rb2v.cli import app
    from rb2v.cli.commands import COMMANDS

    group: Any = typer.main.get_command(app)
    lines = ["# Commands", "", "Every command prints the same with `--help`.", "", "| command | |", "| --- | --- |"]
    context = group.make_context("rb2v", [], resilient_parsing=True)
    for name, entry in COMMANDS.items():
        lines.append(f"| [`rb2v {name}`]({name}.md) | {entry.help} |")
        yield f"commands/{name}.md", "\n".join(_command_page(group.get_command(context, name), f"rb2v {name}", "#"))
    yield "commands/index.md", "\n".join(lines)


def _command_page(command: Any, name: str, mark: str) -> Iterator[str]:  # noqa: ANN401 - a command of click
    context = command.make_context(name, [], resilient_parsing=True)
    yield from (f"{mark} {name}", "", _plain(command.help or ""), "", "```")
    yield " ".join([name, *command.collect_usage_pieces(context)])
    yield from ("```", "")
    if command.epilog:
        yield from (f"`{_plain(command.epilog).removeprefix('Example: ')}`", "")
    panels: dict[str, list[Any]] = {}
    for parameter in command.params:
        if not getattr(parameter, "hidden", False) and parameter.name != "help":
            panels.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(parameter)
    for panel, parameters in panels.items():
        yield from (f"**{panel}**", "", "| option | |", "| --- | --- |")
        for parameter in parameters:
            record = parameter.get_help_record(context) or (parameter.make_metavar(context), "")
            said, told = (_escape(_plain(text)) for text in record)
            yield f"| <code>{said}</code> | {told} |"
        yield ""
    for inner, below in sorted(getattr(command, "commands", {}).items()):
        yield from _command_page(below, f"{name} {inner}", "##")


def _escape(text: str) -> str:
    """Return a text as it is to be seen: bars part no cells, and "[default: 1] [x>=0]" is no link."""
    return re.sub(r"[|\[\]]", lambda found: f"&#{ord(found[0])};", html.escape(text))


def _plain(text: str) -> str:
    return " ".join(text.replace("\b", "").split())


def reference_pages() -> Iterator[tuple[str, str]]:
    """Return place and text of a page of the API reference for each package with public names, and for the core."""
    listed = ["# API reference", "", "The public names of each package, from their docstrings.", ""]
    for package, names in public_names().items():
        place = f"reference/{package.removeprefix('rb2v').strip('.') or 'rb2v'}.md"
        text = [f"# {package}", "", _summary(package), ""]
        for name, module in names.items():
            text += [f"::: {module}.{name}" if name else f"::: {module}", ""]
        yield place, "\n".join(text)
        listed.append(f"- [`{package}`]({posixpath.basename(place)}): {_summary(package)}")
    yield "reference/index.md", "\n".join(listed)


def public_names() -> Mapping[str, Mapping[str, str]]:
    """Return for each package its public names and the modules that define them; for the core its modules."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted((ROOT / "rb2v").rglob("__init__.py")):
        package = ".".join(path.parent.relative_to(ROOT).parts)
        tree = ast.parse(path.read_text())
        listed = next((ast.literal_eval(node.value) for node in tree.body if _is_all(node)), ())
        if package == "rb2v":
            table = next(node for node in tree.body if isinstance(node, ast.Assign) and "_PUBLIC" in ast.unparse(node))
            modules = {name: module for module, names in ast.literal_eval(table.value).items() for name in names}
        else:
            modules = {
                alias.asname or alias.name: node.module
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rb2v")
                for alias in node.names
            }
        names = {name: modules[name] for name in listed if name in modules}
        if names:
            found[package] = names
    for path in sorted((ROOT / "rb2v/core").glob("[a-z]*.py")):
        found[f"rb2v.core.{path.stem}"] = {"": f"rb2v.core.{path.stem}"}
    return dict(sorted(found.items()))


def _is_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def _summary(package: str) -> str:
    path = ROOT.joinpath(*package.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0].replace("\n", " ")


def relink(text: str, source: str) -> str:
    """Return a page with links to files outside of docs/ turned to their pages in the site.

    Parameters
    ----------
    text : str
        Markdown.
    source : str
        Path of the page in the repository.
    """
    here = posixpath.dirname(source)

    def turn(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(here, match[2]))
        place = OUTSIDE.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else "")
        if not place:
            return match[0]
        start = posixpath.dirname(OUTSIDE.get(source) or source.removeprefix("docs/"))
        return match[1] + posixpath.relpath(place, start or ".") + match[3]

    return _LINK.sub(turn, text)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the generated pages in the navigation."""
    for section in config.nav or []:
        for name, make in (("Commands", command_pages), ("Reference", reference_pages)):
            if name in section:
                places = sorted(place for place, _ in make())
                section[name] = sorted(places, key=lambda place: (not place.endswith("/index.md"), place))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    pages = [*command_pages(), *reference_pages()]
    pages += [(place, relink((ROOT / source).read_text(), source)) for source, place in OUTSIDE.items()]
    for place, text in pages:
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page of docs/ that lead out of it."""
    source = page.file.src_uri
    return relink(markdown, f"docs/{source}") if page.file.generated_by is None else markdown
