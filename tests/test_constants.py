import runpy
from pathlib import Path

import pytest

find_unexplained = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "check_constants.py"))["find_unexplained"]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("A_PX = 3\n", ["A_PX"]),
        ("A_PX = -2 * 3  # a reason\nB_PX = 3\n", ["B_PX"]),
        ("# a reason\nA_PX: float = 3.0\nB_PX = (3, 4)\n", ["B_PX"]),
        ('A_PX = (\n    3,  # a reason\n    4,\n)\nB_PX = 3\n"""A reason."""\n', []),
        ("A_PX = 3  # noqa: E501\n", ["A_PX"]),
        ("A, B = 3, 4\n", ["(A, B)"]),
        ('NAME, IS_ON, SIDES = "3", True, {"a": 3}\n\n\ndef f() -> int:\n    b = 3\n    return b\n', []),
    ],
)
def test_numbers_without_a_reason_are_named(tmp_path, code, names):
    path = tmp_path / "module.py"
    path.write_text(code)
    assert [name for _, name in find_unexplained(path)] == names
