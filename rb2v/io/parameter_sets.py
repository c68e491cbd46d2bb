"""Sequence parameter sets of H.264 and HEVC streams, as far as the siting of chroma.

FFmpeg reads them as well, but PyAV tells of this field only through FFmpeg's log. The log is one for the whole process,
and needs Python's lock in threads that decode: reading it can bring a process to a halt.
"""

from __future__ import annotations

from collections.abc import Iterator

_START_CODE = b"\0\0\1"
_H264_SPS = 7  # nal_unit_type, ITU-T H.264 table 7-1
_HEVC_SPS = 33  # ITU-T H.265 table 7-1
_H264_PROFILES_WITH_CHROMA = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}  # H.264 section 7.3.2.1.1
_YUV444 = 3  # chroma_format_idc
_SAMPLE_ASPECT_RATIO_IS_STATED = 255  # Extended_SAR
_MAX_PREFIX_BITS = 32  # of an Exp-Golomb code: longer ones hold more than 32 bits
_MAX_ENTRIES = 256  # more than either standard allows in any of the lists; damage can state 2^32


def find_chroma_location(codec: str, data: bytes) -> int | None:
    """Find where a stream says that its chroma lies.

    Parameters
    ----------
    codec : str
        ``"h264"`` or ``"hevc"``; every other states nothing here.
    data : bytes
        The decoder's configuration (ISO/IEC 14496-15), or a part of the stream with start codes.

    Returns
    -------
    int or None
        ``chroma_sample_loc_type_top_field`` of the first sequence parameter set; None where it states none, or where
        the data hold no such set or a damaged one.
    """
    for unit in _iter_units(codec, data):
        try:
            if codec == "h264" and unit[0] & 31 == _H264_SPS:
                return _read_h264(_Bits(unit[1:]))
            if codec == "hevc" and unit[0] >> 1 & 63 == _HEVC_SPS:
                return _read_hevc(_Bits(unit[2:]))
        except ValueError:
            return None
    return None


def _iter_units(codec: str, data: bytes) -> Iterator[bytes]:
    if data[:1] != b"\1":
        yield from filter(None, data.split(_START_CODE)[1:])
        return
    if codec == "h264":  # the decoder's configuration: 5 bytes, the number of sets, and each with its size
        counts, position = [data[5] & 31 if len(data) > 5 else 0], 6
    else:  # 22 bytes, then arrays of units
        counts, position = [0] * (data[22] if len(data) > 22 else 0), 23
    for count in counts:
        if codec == "hevc":
            count = int.from_bytes(data[position + 1 : position + 3], "big")
            position += 3
        for _ in range(count):
            size = int.from_bytes(data[position : position + 2], "big")
            unit = data[position + 2 : position + 2 + size]
            position += 2 + size
            if not unit:
                return
            yield unit


class _Bits:
    """Bits of a unit, most significant first, without the bytes that keep start codes out of it."""

    def __init__(self, unit: bytes) -> None:
        payload = unit.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(payload, "big")
        self._left = 8 * len(payload)

    def u(self, n_bits: int) -> int:
        """Read an unsigned number of so many bits; ValueError past the end."""
        self._left -= n_bits
        if self._left < 0:
            raise ValueError("cut short")
        return self._value >> self._left & ((1 << n_bits) - 1)

    def ue(self) -> int:
        """Read an unsigned Exp-Golomb code."""
        n_zeros = 0
        while not self.u(1):
            n_zeros += 1
            if n_zeros > _MAX_PREFIX_BITS:
                raise ValueError("no Exp-Golomb code")
        return (1 << n_zeros) - 1 + self.u(n_zeros)

    def se(self) -> int:
        """Read a signed Exp-Golomb code."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)

    def n(self) -> int:
        """Read the length of a list."""
        count = self.ue()
        if count > _MAX_ENTRIES:
            raise ValueError("a list too long")
        return count


def _read_h264(bits: _Bits) -> int | None:
    """Read a set by H.264 section 7.3.2.1.1."""
    profile = bits.u(8)
    bits.u(16)  # constraints and level
    bits.ue()
    if profile in _H264_PROFILES_WITH_CHROMA:
        chroma_format = bits.ue()
        if chroma_format == _YUV444:
            bits.u(1)
        bits.ue(), bits.ue(), bits.u(1)  # depths
        if bits.u(1):
            for i in range(12 if chroma_format == _YUV444 else 8):
                if bits.u(1):
                    _skip_h264_scaling(bits, 16 if i < 6 else 64)  # six lists of 4x4, then of 8x8
    bits.ue()
    order_type = bits.ue()
    if order_type == 0:
        bits.ue()
    elif order_type == 1:
        bits.u(1), bits.se(), bits.se()
        for _ in range(bits.n()):
            bits.se()
    bits.ue(), bits.u(1), bits.ue(), bits.ue()  # references, gaps, width, height
    if not bits.u(1):
        bits.u(1)
    bits.u(1)
    _skip_window(bits)
    return _read_location(bits) if bits.u(1) else None


def _skip_h264_scaling(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _read_hevc(bits: _Bits) -> int | None:
    """Read a set by H.265 section 7.3.2.2.1."""
    bits.u(4)
    n_sub_layers = bits.u(3)
    bits.u(1)
    bits.u(96)  # the general profile and level
    stated = [(bits.u(1), bits.u(1)) for _ in range(n_sub_layers)]
    if stated:
        bits.u(2 * (8 - n_sub_layers))
    for has_profile, has_level in stated:
        bits.u(88 * has_profile + 8 * has_level)
    bits.ue()
    if bits.ue() == _YUV444:
        bits.u(1)
    bits.ue(), bits.ue()  # width, height
    _skip_window(bits)
    bits.ue(), bits.ue()  # depths
    n_order_bits = bits.ue() + 4
    for _ in range(n_sub_layers + 1 if bits.u(1) else 1):
        bits.ue(), bits.ue(), bits.ue()
    for _ in range(6):  # sizes of blocks and depths of their trees
        bits.ue()
    if bits.u(1) and bits.u(1):
        _skip_hevc_scaling(bits)
    bits.u(2)
    if bits.u(1):  # PCM blocks
        bits.u(8), bits.ue(), bits.ue(), bits.u(1)
    references: list[int] = []
    for i in range(bits.n()):
        references = _read_references(bits, references, is_first=i == 0)
    if bits.u(1):
        for _ in range(bits.n()):
            bits.u(n_order_bits + 1)
    bits.u(2)
    return _read_location(bits) if bits.u(1) else None


def _skip_hevc_scaling(bits: _Bits) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):  # those of 32x32 are two
            if not bits.u(1):
                bits.ue()
                continue
            if size > 1:
                bits.se()
            for _ in range(min(64, 1 << 4 + 2 * size)):
                bits.se()


def _read_references(bits: _Bits, before: list[int], *, is_first: bool) -> list[int]:
    """Read a set of short-term references by H.265 section 7.3.7, as distances in pictures (equations 7-61 to 7-66)."""
    if not is_first and bits.u(1):
        sign = bits.u(1)
        shift = (1 - 2 * sign) * (bits.ue() + 1)
        kept = []
        for distance in (*before, 0):
            is_used = bits.u(1)
            if is_used or bits.u(1):
                kept.append(distance + shift)
        # Those before come first, the nearest first.
        return sorted((d for d in kept if d < 0), reverse=True) + sorted(d for d in kept if d > 0)
    counts = bits.n(), bits.n()
    found = []
    for count, step in zip(counts, (-1, 1), strict=True):
        distance = 0
        for _ in range(count):
            distance += step * (bits.ue() + 1)
            bits.u(1)
            found.append(distance)
    return found


def _skip_window(bits: _Bits) -> None:
    if bits.u(1):
        for _ in range(4):
            bits.ue()


def _read_location(bits: _Bits) -> int | None:
    """Read the usability information, of which the beginning is one for both (annexes E)."""
    if bits.u(1) and bits.u(8) == _SAMPLE_ASPECT_RATIO_IS_STATED:
        bits.u(32)
    if bits.u(1):
        bits.u(1)
    if bits.u(1):
        bits.u(4)
        if bits.u(1):
            bits.u(24)
    return bits.ue() if bits.u(1) else None
