"""The section that leads the report of a real session: good takes, others, and what to film again."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from rb2v.artifacts import REASONS, REMEDIES, AlignedFrame
from rb2v.benchmark.report.page import render
from rb2v.benchmark.session import usable_takes


def make_take(name, reasons):
    frames = [
        AlignedFrame(name, index, index / 25, 0, 0.0, 40.0, 1.0, accepted=not reason, reason=reason)
        for index, reason in enumerate(reasons)
    ]
    accepted = [index for index, frame in enumerate(frames) if frame.accepted]
    rejected = [index for index, frame in enumerate(frames) if not frame.accepted]
    return SimpleNamespace(name=name, frames=frames, accepted=accepted, rejected=rejected)


class StubReader:
    """As much of a data set as the section asks for."""

    def __init__(self, manifest):
        self.manifest = manifest

    def __len__(self):
        return 46


TAKES = {
    "good": make_take("good", ["", *[""] * 38, "out-of-range"]),
    "half": make_take("half", [""] * 6 + ["static"] * 4),
    "lost": make_take("lost", [""] + ["exposure"] * 8 + ["clipped"]),
}


@pytest.fixture
def section(tmp_path, monkeypatch):
    for name in (*TAKES, "not_aligned"):
        (tmp_path / "raw" / "takes" / name).mkdir(parents=True)
    monkeypatch.setattr(usable_takes, "read_take", lambda aligned, name, truth: TAKES[name])
    splits = {"train": SimpleNamespace(samples=46), "test": SimpleNamespace(samples=0)}
    paths = SimpleNamespace(raw_dir=tmp_path / "raw")
    inputs = SimpleNamespace(paths=paths, shards=StubReader(SimpleNamespace(splits=splits)))
    return usable_takes.report(inputs, SimpleNamespace(take_names=tuple(TAKES)))


def test_each_take_has_a_result_its_reasons_and_the_remedy(section):
    rows = {row[0].text: [cell.text for cell in row] for row in section.blocks[0].rows}
    assert {name: row[1] for name, row in rows.items()} == {
        "good": "good",
        "half": "usable",
        "lost": "film again",
        "not_aligned": "film again",
    }
    assert rows["good"][2] == "-", "a frame lost at the end is no reason"
    assert REASONS["static"] in rows["half"][2]
    assert REMEDIES["static"] in rows["half"][3]
    assert REASONS["exposure"] in rows["lost"][2]
    assert REASONS["clipped"] in rows["lost"][2]
    assert list(rows) == ["lost", "half", "good", "not_aligned"], "the worst comes first"


def test_the_session_as_a_whole_is_told_what_to_film(section):
    advice = [cell.text for row in section.blocks[-1].rows for cell in row]
    assert REMEDIES["exposure"] in advice
    assert any("no sample for test" in text for text in advice)
    assert not any("no sample for train" in text for text in advice)
    assert "1 of 4 takes are good" in section.lead


def test_it_stands_before_the_summary_of_targets(section):
    other = replace(section, title="Other", leads=False)
    text = render({}, [], [other, section])
    assert text.index(f"<h2>{section.title}") < text.index("<h2>Other")
