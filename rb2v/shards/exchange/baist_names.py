"""Names of files in the layout of B-AIST++.

References
----------
.. [1] Zhong et al., "Animation from Blur", ECCV 2022, and its code: names and sizes.
"""

from __future__ import annotations

from collections.abc import Mapping

from rb2v.artifacts import Split

LAYOUT = "baist"
EXTRAS_FOLDER = "rb2v"
"""Holds what the layout has no room for: a manifest, and the samples' columns by video and index."""
COLUMNS_NAME = "columns.json"
LIST_NAMES: Mapping[Split, str] = {"train": "train.yaml", "test": "test.yaml"}
"""Lists of the videos of each split, which are looked for in the folder itself."""


def image_paths(video: str, index: int, n_sharp: int) -> list[str]:
    """Return the paths of a sample's images below the folder: the blurry one, then the sharp ones."""
    return [f"{video}/blur/{index:08d}.png", *(f"{video}/sharp/{index:08d}_{k:03d}.png" for k in range(n_sharp))]
