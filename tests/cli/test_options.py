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
    assert f"'{option}'" in outcome.err
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
    assert "'--size'" in outcome.err


def test_every_option_has_a_help_text():
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        for one in getattr(command, "commands", {name: command}).values():
            missing = [option.name for option in one.params if not getattr(option, "help", None) and not option.hidden]
            assert not missing, (name, missing)
