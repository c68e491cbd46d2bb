"""A run that accepts nothing says so, and why."""

from typer.testing import CliRunner

from rb2v.cli import app
from rb2v.errors import Rb2vError
from rb2v.io.store import read_alignment


def test_a_run_that_accepts_nothing_ends_with_the_reason(calibrated_session, tmp_path):
    made, out = calibrated_session, tmp_path / "aligned"
    arguments = ["align", "--raw-dir", made.raw, "--calibration", made.calibration, "--out", out, "--workers", "1"]
    arguments += ["--interpolator", "quick-flow"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, Rb2vError)
    (reason,) = {row.reason for row in read_alignment(out / "alignment.csv")}
    assert reason in str(result.exception)
    assert "rb2v doctor" in str(result.exception)
