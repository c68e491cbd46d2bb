"""Three frames in a row, to learn the middle one from the others: out of clips, or generated.

Generated ones show photographs that hang on a wall and shapes cut out of them, under a camera that pans and turns: each
moves, turns and grows in its own way and covers what is behind it. Some are blurred by their motion, some grow brighter
or darker, all have noise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rb2v.core.color import from_linear
from rb2v.errors import InputError
from rb2v.interpolation.guarded import is_scene_cut
from rb2v.io.config import IMAGE_SUFFIXES
from rb2v.io.container import VIDEO_SUFFIXES
from rb2v.io.store import sha256_of_files, whole_file
from rb2v.io.video import iter_frames, read_image
from rb2v.progress import Count
from rb2v.simulator.config import SequencesConfig
from rb2v.simulator.scene import LayeredScene
from rb2v.simulator.sequences import FINE_SECONDS, RESPONSE, build_scene, split_photos
from rb2v.simulator.textures import list_photos

Triplet = NDArray[np.uint8]
"""(3, H, W, 3) coded RGB."""

_PER_SCENE = 4  # a scene takes longer to build than its frames to render
_SCENE_SECONDS = 20.0  # as in `simulator.sequences`
_GAPS = (0.5, 8.0)  # from the first frame to the third, in FINE_SECONDS; longer ones are rarer
_BLURRED_SHARE = 0.3  # so that most frames are sharp, as the sharp camera's are
_EXPOSURES = (0.1, 0.6)  # share of the time from one frame to the next
_N_INSTANTS = 5  # of an exposure that is a part of a short step
_CHANGING_SHARE = 0.3  # of triplets, whose light changes as under lamps
_LIGHTEST = 1.15  # the last frame against the middle one, or the other way round
_MOST_NOISE_LEVELS = 1.5  # of 255, standard deviation: twice that of `simulator.sequences`

_N_PLACES = 4
"""Of which the one that moves most is cut out of a clip."""
_WIDE_SHARE = 0.3
"""Of triplets of a clip that leave out every other frame."""


@dataclass(frozen=True)
class GeneratedTriplets:
    """Triplets that depend on nothing but photographs, seed and index."""

    photos: tuple[Path, ...]
    size: int
    """Side of the frames in pixels."""
    seed: int

    def draw(self, index: int) -> Triplet:
        """Return a triplet; neighboring ones are of one scene."""
        scene = _build_scene(self.photos, self.size, self.seed, index // _PER_SCENE)
        rng = np.random.default_rng((self.seed, 1, index))
        gap = FINE_SECONDS * float(np.exp(rng.uniform(*np.log(_GAPS))))
        middle = rng.uniform(0, _SCENE_SECONDS)
        exposure = gap / 2 * rng.uniform(*_EXPOSURES) if rng.random() < _BLURRED_SHARE else 0.0
        lighter = rng.uniform(-1, 1) * np.log(_LIGHTEST) if rng.random() < _CHANGING_SHARE else 0.0
        noise = rng.uniform(0, _MOST_NOISE_LEVELS)
        frames = []
        for place in (-1, 0, 1):
            light = np.exp(lighter * place) * _expose(scene, middle + place * gap / 2, exposure, self.size)
            levels = 255 * from_linear(np.asarray(light, dtype=np.float32), RESPONSE)
            levels = levels + noise * rng.standard_normal(levels.shape, dtype=np.float32)
            frames.append(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
        return np.stack(frames)


def generated_triplets(size: int, seed: int, *, held_out: bool = False) -> tuple[GeneratedTriplets, str]:
    """Return generated triplets of the photographs that scikit-image ships, and a digest of those.

    Parameters
    ----------
    size : int
        Side of the frames in pixels.
    seed : int
        Decides everything else.
    held_out : bool
        Whether they are of the photographs that are never trained on.
    """
    photos = split_photos(list_photos(more=True), "test" if held_out else "train")
    return GeneratedTriplets(photos, size, seed), sha256_of_files(photos)


@lru_cache(maxsize=8)
def _build_scene(photos: tuple[Path, ...], size: int, seed: int, index: int) -> LayeredScene:
    rng = np.random.default_rng((seed, 0, index))
    config = SequencesConfig(motion="single" if rng.random() < 0.2 else "mixed", size=size)
    return build_scene(config, photos, rng)


def _expose(scene: LayeredScene, center_seconds: float, exposure_seconds: float, size: int) -> NDArray[np.float32]:
    middle = (size - 1) / 2
    view = np.array([[1, 0, middle], [0, 1, middle], [0, 0, 1]], dtype=np.float64)
    instants = np.linspace(-0.5, 0.5, _N_INSTANTS) * exposure_seconds if exposure_seconds else np.zeros(1)
    pictures = [scene.render(center_seconds + float(instant), view, (size, size)) for instant in instants]
    return np.asarray(np.mean(pictures, axis=0), dtype=np.float32)


def find_clips(folder: Path) -> tuple[list[Path], str]:
    """Return the clips of a folder and those under it, videos and folders of images, and a digest of them.

    Raises
    ------
    InputError
        If it is no folder, or holds no clip.
    """
    if not folder.is_dir():
        raise InputError(folder, "is no folder", expected="a folder of clips")
    inside = sorted(path for path in folder.rglob("*") if not path.name.startswith("."))
    pictures = [path for path in inside if path.suffix.lower() in IMAGE_SUFFIXES]
    folders = {path.parent for path in pictures}
    clips = sorted(folders | {path for path in inside if path.suffix.lower() in VIDEO_SUFFIXES})
    if not clips:
        expected = f"videos ({', '.join(VIDEO_SUFFIXES)}), or folders of at least 3 images each"
        raise InputError(folder, "holds no clip", expected=expected)
    files = [path for path in inside if path in clips or path.suffix.lower() in IMAGE_SUFFIXES]
    return clips, sha256_of_files([path for path in files if path.is_file()])


def gather_triplets(
    clips: Sequence[Path],
    path: Path,
    *,
    size: int,
    n_triplets: int,
    seed: int,
    progress: Count | None = None,
) -> None:
    """Cut triplets out of clips and lay them aside, whole or not at all; every clip is decoded once.

    Of all places in all clips as many as are wanted are chosen at random; where a scene is cut, none is. Of a few parts
    of the frames there, the one that changes most is taken.

    Parameters
    ----------
    clips : sequence of Path
        Videos, and folders of images in the order of their names.
    path : Path
        The ``.npy`` file to write: (n, 3, size, size, 3) uint8, at most ``n_triplets``.
    size : int
        Side of the parts in pixels.
    n_triplets : int
        How many are wanted.
    seed : int
        Decides which.
    progress : callable, optional
        Called with the number of clips done, and of all.

    Raises
    ------
    InputError
        If a clip cannot be read, its frames are smaller than the parts or of several sizes, or all of them together
        hold no triplet.
    """
    chosen: dict[int, Triplet] = {}
    rng = np.random.default_rng(seed)
    n_seen = 0
    for index, clip in enumerate(clips):
        for frames in _windows(clip, rng):
            if min(frames[0].shape[:2]) < size:
                height, width = frames[0].shape[:2]
                raise InputError(clip, f"is {width}x{height}", expected=f"frames of at least {size}x{size} pixels")
            n_seen += 1
            slot = n_seen - 1 if n_seen <= n_triplets else int(rng.integers(n_seen))
            if slot < n_triplets:
                first, last = (frame * np.float32(1 / 255) for frame in (frames[0], frames[-1]))
                if not is_scene_cut(first, last, coded=True):
                    chosen[slot] = _cut(frames, size, rng)
        if progress is not None:
            progress(index + 1, len(clips))
    if not chosen:
        raise InputError(clips[0].parent, "its clips hold no triplet", expected="clips of at least 3 frames")
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.stack([chosen[slot] for slot in sorted(chosen)]))


def _windows(clip: Path, rng: np.random.Generator) -> Iterator[list[NDArray[np.uint8]]]:
    """Yield three frames, one or two apart, for every frame of a clip that ends them."""
    recent: deque[NDArray[np.uint8]] = deque(maxlen=5)
    for frame in _read_frames(clip):
        if recent and recent[-1].shape != frame.shape:
            raise InputError(clip, "its frames are of several sizes")
        recent.append(frame)
        step = 2 if len(recent) == 5 and rng.random() < _WIDE_SHARE else 1
        if len(recent) > 2 * step:
            yield [recent[-1 - 2 * step], recent[-1 - step], recent[-1]]


def _read_frames(clip: Path) -> Iterator[NDArray[np.uint8]]:
    if clip.is_dir():
        for path in sorted(clip.iterdir()):
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
                yield read_image(path)
    else:
        for frame in iter_frames([clip]):
            yield frame.image


def _cut(frames: Sequence[NDArray[np.uint8]], size: int, rng: np.random.Generator) -> Triplet:
    height, width = frames[0].shape[:2]
    tops, lefts = (rng.integers(0, side - size + 1, _N_PLACES) for side in (height, width))
    parts = [
        np.stack([frame[top : top + size, left : left + size] for frame in frames])
        for top, left in zip(tops, lefts, strict=True)
    ]
    return max(parts, key=lambda part: float(np.abs(part[0].astype(np.int16) - part[2]).mean()))


class TripletBatches(Dataset[Tensor]):
    """Triplets by step and row of a batch, varied; what each is depends on nothing but the seed and these two.

    Parameters
    ----------
    source : GeneratedTriplets or Path
        Where they come from: a generator, or the file of `gather_triplets`.
    rows : range
        Rows of every batch that are wanted.
    batch_size : int
        Rows of the whole batch.
    steps : range
        Steps that are wanted.
    seed : int
        Decides which triplet is drawn from a file, and how each is varied.
    """

    def __init__(self, source: GeneratedTriplets | Path, rows: range, batch_size: int, steps: range, seed: int) -> None:
        self._source = source
        self._rows, self._batch_size, self._steps, self._seed = rows, batch_size, steps, seed
        self._triplets: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, place: int) -> Tensor:
        """Return the (B, 3, 3, H, W) uint8 triplets of a step."""
        return torch.from_numpy(np.stack([self._draw(self._steps[place], row) for row in self._rows]))

    def _draw(self, step: int, row: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng((self._seed, 2, step, row))
        if isinstance(self._source, GeneratedTriplets):
            triplet = self._source.draw(step * self._batch_size + row)
        else:
            if self._triplets is None:
                self._triplets = np.load(self._source, mmap_mode="r")
            triplet = self._triplets[int(rng.integers(len(self._triplets)))]
        return vary(triplet, rng)


def vary(triplet: Triplet, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a triplet as (3, 3, H, W), mirrored, turned by quarters, backwards and with colors exchanged at random."""
    if rng.random() < 0.5:
        triplet = triplet[::-1]
    if rng.random() < 0.5:
        triplet = triplet[:, :, ::-1]
    triplet = np.rot90(triplet, int(rng.integers(4)), axes=(1, 2))
    return np.ascontiguousarray(np.moveaxis(triplet[..., rng.permutation(3)], -1, 1))
