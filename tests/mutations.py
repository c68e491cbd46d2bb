"""Damaged files: bytes changed, cut, repeated and inserted, by a seed."""

import numpy as np

_NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0")
_TOKENS = (*_NUMBERS, b"null", b"NaN", b"-1", b"1e999", b"[", b"{", b"&a *a")


def mutate(content, rng):
    """Return damaged bytes, never more than twice as many as there were."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(0, len(data) + 1))
        kind = int(rng.integers(0, 6))
        if kind == 0 and place < len(data):
            data[place] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            token = _TOKENS[int(rng.integers(0, len(_TOKENS)))]
            data[place : place + len(token)] = token
        elif kind == 2:
            del data[place : place + int(rng.integers(1, 64))]
        elif kind == 3:
            data[place:place] = bytes(rng.integers(0, 256, int(rng.integers(1, 16)), dtype=np.uint8))
        elif kind == 4:
            data[place:place] = data[max(place - 32, 0) : place]
        elif rng.random() < 0.2:
            del data[place:]
    return bytes(data[: 2 * len(content)])
