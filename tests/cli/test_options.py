"""Options that are the fields of configurations."""

import dataclasses

import pytest
import typer

from rb2v.cli import app
from rb2v.stages.align.config import AlignConfig


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(AlignConfig)])
def test_an_option_and_its_yaml_key_have_one_name(rb2v, field):
    assert f"--{field.replace('_', '-')} " in rb2v("align", "--help").out


def test_help_has_headings_choices_and_defaults(rb2v):
    shown = rb2v("align", "--help").out
    for words in ("Input and output:", "Method:", "Thresholds:", "Execution:", "<auto|sound|gyro|motion|timecode>"):
        assert words in shown
    assert "[default: 24.0]" in " ".join(shown.split())
    for command in ("simulate", "benchmark"):
        assert "Input and output:" in rb2v(command, "--help").out


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--sync", "smell"), ("--min-psnr-db", "0"), ("--max-flash", "much"), ("--min-composite-psnr-db", "-1")),
        *(("--wide-range-seconds", "61"), ("--min-psnr", "-3")),
    ],
)
def test_a_wrong_value_is_found_when_it_is_parsed(rb2v, tmp_path, option, value):
    places = ("--raw-dir", tmp_path, "--calibration", tmp_path / "c.json", "--out", tmp_path / "out")
    outcome = rb2v("align", *places, option, value)
    assert outcome.status == 2
    (error,) = (line for line in outcome.err.splitlines() if not line.startswith("note: "))
    assert error.startswith(f"error: {option}: ")
    assert "; expected " in error
    assert not (tmp_path / "out").exists()


def test_a_former_name_is_read_and_noted(rb2v, tmp_path):
    places = ("--raw-dir", tmp_path / "none", "--calibration", tmp_path / "c.json", "--out", tmp_path / "out")
    outcome = rb2v("align", *places, "--min-psnr", "20")
    assert "note: --min-psnr is now --min-psnr-db" in outcome.err
    assert "none: there is no such folder" in outcome.err
    assert "--min-psnr " not in rb2v("align", "--help").out


@pytest.mark.parametrize("value", ["64x63", "64", "32x64", "big"])
def test_sizes_that_cannot_be(rb2v, tmp_path, value):
    outcome = rb2v("simulate", "--out", tmp_path / "raw", "--size", value)
    assert outcome.status == 2
    assert outcome.err.startswith("error: --size: ")


@pytest.mark.parametrize(
    ("arguments", "begins", "ends"),
    [
        ("align", "--raw-dir: ", "is missing"),
        ("align --out", "--out: ", "requires an argument"),
        ("align --paper=3", "--paper: ", "does not take a value"),
        ("align --matter magic", "--matter: 'magic' ", "; expected chroma or background or rvm"),
        ("align --workers 0", "--workers: 0 ", "; expected at least 1"),
        ("align --workers 1.5", "--workers: '1.5' ", "; expected a whole number"),
        ("align --max-flash much", "--max-flash: 'much' ", "; expected a number"),
        ("align --colour plain", "--colour: ", "; expected --color or --color-fit or --out"),
        ("align --magic", "--magic: ", "; expected one that 'rb2v align --help' lists"),
        ("align -x", "-x: ", "; expected one that 'rb2v align --help' lists"),
        ("deblur", "IMAGE: ", "is missing"),
        ("algin", "No such command 'algin'. ", "'align'?"),
    ],
)
def test_wrong_usage_ends_in_one_line(rb2v, arguments, begins, ends):
    outcome = rb2v(*arguments.split())
    assert (outcome.status, outcome.out) == (2, "")
    (error,) = outcome.err.splitlines()
    assert error.startswith(f"error: {begins}")
    assert error.endswith(ends)


def test_no_command_shows_the_help(rb2v):
    outcome = rb2v()
    assert outcome.status == 2
    assert "Commands:" in outcome.output
    assert "error: " not in outcome.output


def test_every_option_has_a_help_text():
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        for one in getattr(command, "commands", {name: command}).values():
            missing = [option.name for option in one.params if not getattr(option, "help", None) and not option.hidden]
            assert not missing, (name, missing)
