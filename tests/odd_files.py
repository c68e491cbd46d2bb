"""Small files as cameras, editors and people leave them: odd containers, codecs, times, colors and tracks."""

import struct
from fractions import Fraction

import av
import cv2
import numpy as np
from av.stream import Disposition

SIZE = (64, 48)
BT709, BT601, UNSTATED = 1, 6, 2
FULL, LIMITED = 2, 1
NTSC = Fraction(30_000, 1001)


def moving(n_frames, size=SIZE, speed=1.5):
    """A smooth texture that moves along, brighter at the top left than anywhere else."""
    width, height = size
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.uniform(0, 255, (height, width + int(speed * n_frames) + 8, 3)), (0, 0), 2.0)
    wide = (wide - wide.min()) / np.ptp(wide) * 160 + 30
    frames = []
    for index in range(n_frames):
        shift = np.float32([[1, 0, -speed * index], [0, 1, 0]])
        frame = cv2.warpAffine(wide.astype(np.float32), shift, size, flags=cv2.INTER_LINEAR)
        frame[:8, :8] = (240, 30, 30)
        frames.append(np.rint(frame).astype(np.uint8))
    return frames


def write_odd(
    path, frames, *, rate=25, codec="libx264", pix_fmt="yuv420p", color=(BT709, LIMITED), options=None, pts=None,
    matrix=None, time_base=None, tags=None, sound=None, cover=None, second=None, timecode=None, movflags=(),
):  # fmt: skip
    """Encode RGB frames.

    ``matrix`` is the display matrix, ``cover`` a preview that is the first image track, ``second`` a larger track
    behind it that is not the default one, ``sound`` (channels, n) samples at 48 kHz or a list of
    such tracks, ``tags`` the container's, ``timecode`` that of the first frame.
    """
    rate = Fraction(rate)
    time_base = time_base or 1 / rate
    flags = [*movflags, *(["use_metadata_tags"] if tags else [])]
    with av.open(str(path), "w", options={"movflags": "+".join(flags)} if flags else {}) as container:
        container.metadata.update(tags or {})
        preview = None if cover is None else _add(container, "mjpeg", rate, cover, "yuvj420p")
        stream = _add(container, codec, rate, frames[0], pix_fmt, options, color)
        if timecode is not None:
            stream.metadata["timecode"] = timecode
        if matrix is not None:
            stream.set_display_matrix(matrix)
        other = None if second is None else _add(container, "libx264", rate, second[0], "yuv420p", {"qp": "10"})
        if other is not None:
            stream.disposition, other.disposition = Disposition.default, Disposition(0)
        tracks = sound if isinstance(sound, list) else [] if sound is None else [sound]
        layouts = ["stereo" if len(track) == 2 else "mono" for track in tracks]
        audio = [container.add_stream("aac", rate=48_000, layout=layout) for layout in layouts]
        for index, frame in enumerate(frames):
            picture = to_frame(frame, pix_fmt, color)
            picture.pts, picture.time_base = index if pts is None else pts[index], time_base
            if pts is not None:
                stream.codec_context.time_base = time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if preview is not None:
            _mux(container, preview, [cover], rate, "yuvj420p", (BT601, FULL))
        if other is not None:
            _mux(container, other, second, rate, "yuv420p", (BT709, LIMITED))
        for track, layout, output in zip(tracks, layouts, audio, strict=True):
            block = av.AudioFrame.from_ndarray(track.astype(np.float32), format="fltp", layout=layout)
            block.sample_rate, block.pts, block.time_base = 48_000, 0, Fraction(1, 48_000)
            container.mux(output.encode(block))
            container.mux(output.encode(None))
    return path


def _add(container, codec, rate, image, pix_fmt, options=None, color=(BT709, LIMITED)):
    stream = container.add_stream(codec, rate=rate, options={"threads": "1", **(options or {})})
    stream.width, stream.height = image.shape[1], image.shape[0]
    stream.pix_fmt = pix_fmt
    stream.codec_context.colorspace, stream.codec_context.color_range = color
    return stream


def _mux(container, stream, frames, rate, pix_fmt, color):
    for index, frame in enumerate(frames):
        picture = to_frame(frame, pix_fmt, color)
        picture.pts, picture.time_base = index, 1 / rate
        container.mux(stream.encode(picture))
    container.mux(stream.encode(None))


def to_frame(image, pix_fmt, color):
    """Convert RGB by the matrix and range that are meant: those stated, or BT.601 and limited for these small sizes."""
    matrix = "ITU709" if color[0] == BT709 else "ITU601"
    full = color[1] == FULL or pix_fmt.startswith("yuvj")
    if pix_fmt.startswith(("gbr", "rgb", "bgr")):
        return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
    picture = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
        format=pix_fmt, dst_colorspace=matrix, src_color_range="JPEG", dst_color_range="JPEG" if full else "MPEG"
    )
    picture.colorspace, picture.color_range = color
    return picture


def count_timecode(path, rate):
    """Change a file so that its timecode counts another number of frames a second, as many cameras' do."""
    content = bytearray(path.read_bytes())
    entry = content.index(b"tmcd\0\0\0\0\0\0\0\1")
    (time_scale,) = struct.unpack_from(">I", content, entry + 20)
    struct.pack_into(">IB", content, entry + 24, time_scale // rate, rate)
    path.write_bytes(content)
    return path


def cut_by_edit_list(path, n_frames, rate):
    """Change a file so that its first frames are hidden, as editors trim without encoding anew."""
    content = bytearray(path.read_bytes())
    edit = content.index(b"elst")
    time_scale = struct.unpack_from(">I", content, content.index(b"mdhd") + 16)[0]
    (media_time,) = struct.unpack_from(">i", content, edit + 16)
    struct.pack_into(">i", content, edit + 16, media_time + round(n_frames * time_scale / rate))
    path.write_bytes(content)
    return path


def cut_out_by_edit_list(path, first, last, rate):
    """Change a file so that frames from `first` up to, not including, `last` are hidden, as editors cut parts out."""
    content = bytearray(path.read_bytes())
    edit = content.index(b"elst")
    size, version_and_flags, _, duration, media_time = struct.unpack_from(">I4x4sIIi", content, edit - 4)
    movie_scale, media_scale = (
        struct.unpack_from(">I", content, content.index(kind) + 16)[0] for kind in (b"mvhd", b"mdhd")
    )
    shown = round(first * movie_scale / rate)
    rest = duration - round(last * movie_scale / rate)
    entries = ((shown, media_time), (rest, media_time + round(last * media_scale / rate)))
    made = struct.pack(">I4s4sI", 16 + 12 * len(entries), b"elst", version_and_flags, len(entries))
    made += b"".join(struct.pack(">IiHH", *entry, 1, 0) for entry in entries)
    content[edit - 4 : edit - 4 + size] = made
    for kind in (b"edts", b"trak", b"moov"):
        place = content.index(kind) - 4
        struct.pack_into(">I", content, place, struct.unpack_from(">I", content, place)[0] + len(made) - size)
    path.write_bytes(content)
    return path
