"""Damage files guided by the lines that run in their reader; needs ``pip install atheris``.

``python tests/benchmarks/fuzz_by_coverage.py GPMF -max_total_time=180`` fuzzes one reader of
`fuzz_targets.make_targets` from its whole file; libFuzzer takes the options. It ends at an input that the reader
answers with anything but a result or Rb2vError, or after 5 s, and writes it into the current folder.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["rb2v"]):
    from fuzz_targets import make_targets

    from rb2v.errors import Rb2vError


def main() -> None:
    """Fuzz one reader."""
    name, *options = sys.argv[1:]
    # Not removed: libFuzzer ends the process itself.
    scratch = Path(tempfile.mkdtemp(prefix="fuzz_by_coverage_"))
    (target,) = (target for target in make_targets(scratch / "whole") if target.name == name)
    seeds = scratch / "seeds"
    seeds.mkdir()
    (seeds / "whole").write_bytes(target.file.read_bytes())

    def read(data: bytes) -> None:
        target.file.write_bytes(data)
        try:
            target.read(target.file)
        except Rb2vError:
            return

    atheris.Setup([sys.argv[0], str(seeds), "-timeout=5", *options], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
