"""Commands that only explain themselves, and imports that only computing commands pay for."""

import subprocess
import sys

import pytest
import typer

from rb2v.cli import app
from rb2v.cli.commands import COMMANDS

HEAVY = ("torch", "pandas", "scipy", "skimage", "h5py", "cv2", "dask", "distributed", "matplotlib", "numpy", "rich")
COMPUTES_WITHOUT_TORCH = (
    *("stages.align", "stages.calibrate", "stages.build_shards", "stages.ingest", "stages.doctor", "simulator"),
    *("shards.exchange", "inspection", "benchmark"),
)


def run_python(code, *arguments):
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_no_help_imports_what_computes():
    code = (
        "import contextlib, sys\nfrom rb2v.cli import main\n"
        "for name in ('', *sys.argv[2:]):\n"
        "    sys.argv[1:] = [*name.split(), '--help']\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        main()\n"
        "    heavy = set(HEAVY) & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )
    groups = ("models list", "models fetch")
    shown = run_python(f"HEAVY = {HEAVY}\n{code}", "-", *COMMANDS, *groups)
    assert shown.count("Usage: ") == 1 + len(COMMANDS) + len(groups)


def test_stages_load_without_torch():
    modules = ", ".join(f"rb2v.{name}" for name in COMPUTES_WITHOUT_TORCH)
    run_python(f"import sys\nimport {modules}\nassert 'torch' not in sys.modules")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_a_command_says(name):
    command = typer.main.get_command(app).commands[name]
    assert command.help.splitlines()[0] == COMMANDS[name].help


def test_commands_are_completed(monkeypatch, capsys):
    monkeypatch.setenv("_RB2V_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "rb2v train-")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        typer.main.get_command(app).main(prog_name="rb2v")
    assert capsys.readouterr().out.split() == [name for name in COMMANDS if name.startswith("train-")]
