"""What commands say while they work, where nobody watches."""

import pytest

from rb2v.cli import shared


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets, in seconds."""
    now = [0.0]
    monkeypatch.setattr(shared.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_every_half_minute(clock, capsys):
    with shared.show_progress("training") as show:
        for done in range(1, 101):
            clock[0] = 0.7 * done
            show(done, 100)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["training: 43 of 100", "training: 86 of 100"]


def test_what_has_no_count_says_its_step(clock, capsys):
    with shared.show_progress("calibrating") as show:
        clock[0] = 31.0
        show(label="lenses")
    assert capsys.readouterr().err == "lenses\n"


def test_short_commands_say_nothing(clock, capsys):
    with shared.show_progress("training") as show:
        show(1, 2)
        show(2)
    assert capsys.readouterr().err == ""
