"""The siting of chroma that streams state."""

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from second_rigs import SITINGS, SecondRig, encode_video

from rb2v.errors import InputError
from rb2v.io.chroma import read_stated_siting
from rb2v.io.parameter_sets import find_chroma_location

# x265 gives the packet of a lone frame a decoding time of unset memory.
FRAMES = np.full((8, 64, 64, 3), 0.5)


@pytest.mark.parametrize("codec", ["h264", "hevc10"])
@pytest.mark.parametrize("chroma", ["center", "topleft"])
def test_stated_siting_is_read(tmp_path, codec, chroma):
    rig = SecondRig(size=(64, 64), codec=codec, chroma=chroma, states_chroma=True)
    encode_video(tmp_path / "a.mp4", FRAMES, rig.rates[0], rig)
    assert read_stated_siting(tmp_path / "a.mp4") == SITINGS[chroma]


def test_what_states_nothing_has_no_siting(tmp_path):
    rig = SecondRig(size=(64, 64), chroma="center")
    encode_video(tmp_path / "a.mp4", FRAMES, rig.rates[0], rig)
    assert read_stated_siting(tmp_path / "a.mp4") is None
    with pytest.raises(InputError):
        read_stated_siting(tmp_path / "b.mp4")


X264 = ("cqm=jvt", "interlaced=1:sar=7/5:videoformat=pal:colorprim=bt709:overscan=show", "bframes=4:ref=5", "keyint=1")
X265 = ("scaling-list=default", "temporal-layers=3:sar=7:colorprim=bt709", "bframes=3:ref=4", "ctu=16")


@pytest.mark.parametrize(
    ("codec", "options"), [*(("libx264", text) for text in X264), *(("libx265", text) for text in X265)]
)
def test_whatever_stands_before_it_is_passed_over(tmp_path, codec, options):
    path = tmp_path / "a.mkv"
    with av.open(path, "w") as output:
        stream = output.add_stream(codec, 25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.options = {codec[3:] + "-params": f"chromaloc=2:log-level=none:{options}", "preset": "ultrafast"}
        for _ in FRAMES:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8))))
        output.mux(stream.encode())
    assert read_stated_siting(path) == SITINGS["topleft"]


def code(value):
    """An unsigned Exp-Golomb code as text."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def hevc_set(reference_sets, location):
    """A sequence parameter set of HEVC with these short-term references."""
    head = "0000" + "000" + "1" + "0" * 96 + code(0) + code(1) + code(64) + code(64) + "0" + code(0) * 3
    blocks = "1" + code(4) + code(0) + code(0) + code(0) * 6 + "0" + "00" + "0"
    usability = "1" + "0" + "0" + "0" + "1" + code(location) * 2
    bits = head + blocks + code(len(reference_sets)) + "".join(reference_sets) + "0" + "00" + usability + "1"
    payload = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    return b"\0\0\1\x42\1" + payload.replace(b"\0\0", b"\0\0\3")


def test_references_that_follow_from_others_are_counted():
    explicit = code(2) + code(1) + (code(0) + "1") * 3  # -1, -2 and 1
    # Shifted by -1: -2, -3, 0 (which is none) and -1; then all of these three and their origin, shifted by 1.
    shifted = "1" + "1" + code(0) + "1" * 4
    again = "1" + "0" + code(0) + "1" * 4
    # As a last set 0 stays: the one before holds -1, -2 and 1, of which the third is left out.
    some = "1" + "0" + code(4) + "1" + "1" + "00" + "1"
    for sets in ([explicit], [explicit, shifted], [explicit, shifted, again], [explicit, shifted, again, some]):
        assert find_chroma_location("hevc", hevc_set(sets, 1)) == 1


@given(
    st.sampled_from(["h264", "hevc"]),
    st.binary(max_size=60),
    st.sampled_from([b"", b"\1", b"\0\0\1\x67", b"\0\0\1\x42\1"]),
)
def test_any_bytes_are_read_or_say_nothing(codec, data, head):
    found = find_chroma_location(codec, head + data)
    assert found is None or found >= 0
