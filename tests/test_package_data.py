import tomllib
from pathlib import Path

import rb2v
from rb2v.io.config import find_rig
from rb2v.models import list_shipped

PACKAGE = Path(rb2v.__file__).parent


def test_a_wheel_holds_every_weight_and_every_rig():
    root = PACKAGE.parent
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["rb2v"]
    packed = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    assert {model.path for model in list_shipped()} <= packed
    assert {model.path.with_suffix(".md") for model in list_shipped()} <= packed
    rigs = {find_rig(path.stem) for path in (root / "capture_configs").glob("*.yaml")}
    assert rigs
    assert rigs <= packed
