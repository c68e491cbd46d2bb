"""Check that every module constant that is a number states its reason.

A reason is a comment on the constant's own lines, one that stands alone right above it, or a docstring right below it.

Usage: python .ci/check_constants.py FOLDER ...
"""

from __future__ import annotations

import ast
import sys
import tokenize
from pathlib import Path

_NUMBER_NODES = (ast.Constant, ast.Tuple, ast.List, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.expr_context)
_INSTRUCTIONS = ("# type:", "# noqa", "# pragma")


def is_number(value: ast.expr) -> bool:
    """Tell whether an expression is made of literal numbers alone."""
    nodes = list(ast.walk(value))
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return (
        bool(constants)
        and all(isinstance(node, _NUMBER_NODES) for node in nodes)
        and all(isinstance(constant, int | float) and not isinstance(constant, bool) for constant in constants)
    )


def comment_lines(path: Path) -> tuple[set[int], set[int]]:
    """Return the lines of a file that end in a comment to the reader, and those that are nothing else."""
    with tokenize.open(path) as file:
        comments = [
            token
            for token in tokenize.generate_tokens(file.readline)
            if token.type == tokenize.COMMENT and not token.string.startswith(_INSTRUCTIONS)
        ]
    return (
        {token.start[0] for token in comments},
        {token.start[0] for token in comments if not token.line[: token.start[1]].strip()},
    )


def find_unexplained(path: Path) -> list[tuple[int, str]]:
    """Return line and name of the module constants of a file that are numbers and give no reason."""
    body = ast.parse(path.read_bytes()).body
    commented, comment_only = comment_lines(path)
    found = []
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or not (
            statement.value and is_number(statement.value)
        ):
            continue
        has_docstring = (
            isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        )
        own_lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
        if not (statement.lineno - 1 in comment_only or has_docstring or commented.intersection(own_lines)):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            found.append((statement.lineno, ast.unparse(target)))
    return found


def main(folders: list[str]) -> int:
    """Report every constant without a reason; return the exit status."""
    failures = [
        f"{path}:{line}: {name}: is a number without a reason; expected a comment or a docstring\n"
        for folder in folders
        for path in sorted(Path(folder).rglob("*.py"))
        for line, name in find_unexplained(path)
    ]
    sys.stderr.writelines(failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
