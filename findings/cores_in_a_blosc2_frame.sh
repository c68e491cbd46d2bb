#!/bin/bash
# The bytes of a Blosc2 frame tell how many cores the machine has, although one thread was asked for.
#
# blosc2 4.14.1: `SChunk(contiguous=True, cparams={"nthreads": 1})` stores two numbers of threads in its header, that of
# compression and that of decompression. The second is `blosc2.nthreads`, by default that of the cores, unless `dparams`
# states one, too. So the same data, compressed by the same settings, have other bytes and checksums on other machines.
#
# Output seen: "[(67, 1, 3)] []": one byte differs, at 67, and none where `dparams` states a thread.
# Exits with 1 where that is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet blosc2==4.14.1
"$folder/env/bin/python" - <<'PYTHON'
import sys

import blosc2


def differences(**settings):
    frames = []
    for n_threads in (1, 3):
        blosc2.set_nthreads(n_threads)
        chunks = blosc2.SChunk(100, contiguous=True, cparams={"nthreads": 1, "typesize": 1}, **settings)
        chunks.append_data(bytes(100))
        frames.append(chunks.to_cframe())
    one, three = frames
    return [(place, *both) for place, both in enumerate(zip(one, three, strict=True)) if both[0] != both[1]]


by_default, stated = differences(), differences(dparams={"nthreads": 1})
print(by_default, stated)
sys.exit([both for _, *both in by_default] != [[1, 3]] or stated != [])
PYTHON
