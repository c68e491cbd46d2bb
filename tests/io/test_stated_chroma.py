"""The siting of chroma that streams state."""

import numpy as np
import pytest
from second_rigs import SITINGS, SecondRig, encode_video

from rb2v.errors import InputError
from rb2v.io.chroma import read_stated_siting


@pytest.mark.parametrize("codec", ["h264", "hevc10"])
@pytest.mark.parametrize("chroma", ["center", "topleft"])
def test_stated_siting_is_read(tmp_path, codec, chroma):
    rig = SecondRig(size=(64, 64), codec=codec, chroma=chroma, states_chroma=True)
    encode_video(tmp_path / "a.mp4", np.full((1, 64, 64, 3), 0.5), rig.rates[0], rig)
    assert read_stated_siting(tmp_path / "a.mp4") == SITINGS[chroma]


def test_what_states_nothing_has_no_siting(tmp_path):
    rig = SecondRig(size=(64, 64), chroma="center")
    encode_video(tmp_path / "a.mp4", np.full((1, 64, 64, 3), 0.5), rig.rates[0], rig)
    assert read_stated_siting(tmp_path / "a.mp4") is None
    with pytest.raises(InputError):
        read_stated_siting(tmp_path / "b.mp4")
