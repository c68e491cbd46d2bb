"""Write the corpus of odd takes, check and align each, and compare positions with the truth.

``python tests/benchmarks/measure_odd_files.py`` prints a table; docs/recordings.md has it. Each way of writing is
applied to both recordings, then to either alone. Exits with 1 where a take breaks the promise: a take that doctor
passes is aligned, one that it refuses is told a remedy, and no accepted frame is off by more than 0.55 fine frames.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from odd_takes import WAYS, OddTakes
from sessions import record_session

_SECONDS = 0.6  # 15 blurry frames; x264 at 192x160 and alignment take 2 s of processor time


def main() -> int:
    """Measure all takes and print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(WAYS), help="Ways of writing.")
    options = parser.parse_args()
    sys.stdout.write(
        "| recordings | doctor | accepted: both, blurry, sharp | largest error [fine frames] | align errors out |\n"
    )
    sys.stdout.write("| --- | --- | --- | --- | --- |\n")
    n_bad = 0
    start = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        session = record_session(
            Path(scratch) / "session", upto="calibration", seconds=_SECONDS, categories=("street",)
        )
        odd = OddTakes(session, Path(scratch) / "odd")
        for way in options.only:
            results = [odd.try_take(way, "plain"), odd.try_take("plain", way)] if way != "plain" else []
            results.insert(0, odd.try_take(way, way))
            errors = [result.errors.max() for result in results if len(result.errors)]
            faults = [fault for result in results for fault in result.faults]
            n_bad += len(faults)
            cells = (
                way,
                ", ".join(dict.fromkeys(f"{finding.level}: {finding.check}" for r in results for finding in r.named)),
                ", ".join(f"{len(result.errors)}/{result.n_frames}" for result in results),
                f"{max(errors):.2f}" if errors else "-",
                "yes" if any(result.refusal for result in results) else "",
            )
            sys.stdout.write(f"| {' | '.join(cells)} |\n")
            sys.stdout.flush()
            for fault in faults:
                sys.stderr.write(f"{way}: {fault}\n")
    sys.stderr.write(f"{time.process_time() - start:.0f} s of processor time\n")
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
