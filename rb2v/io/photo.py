"""Images as people have them: upright by their EXIF, of any depth, gray, with a palette, or with alpha."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageOps

from rb2v.errors import InputError, require_file
from rb2v.io.config import IMAGE_SUFFIXES

PHOTO_SUFFIXES = (*IMAGE_SUFFIXES, ".webp", ".bmp")

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
_EXPECTED = "PNG, JPEG, TIFF, WebP or BMP"
_GRAY_MODES = ("1", "L")
_ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")
_DEEP_MODES = ("F", "I", "I;16", "I;16L", "I;16B", "I;16N")


def read_photo(path: Path) -> NDArray[Any]:
    """Read an image the way up that its EXIF says, or as it is stored where it says nothing.

    Parameters
    ----------
    path : Path
        A PNG, JPEG, TIFF, WebP or BMP file; of several images in it the first is read.

    Returns
    -------
    (H, W), (H, W, 3) or (H, W, 4) ndarray of uint8, uint16 or float32
        Gray, RGB, or RGB and alpha. Gray images keep 16 bits and floats, colors are read in 8 bits.

    Raises
    ------
    InputError
        If the file is missing, no such image, cut short, or larger than 89 megapixels.
    """
    require_file(path, f"an image: {_EXPECTED}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of oddities in metadata
            # The header first: a small file may declare an image that fills the memory.
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            # Of a path Pillow maps uncompressed TIFF into memory, with the sides of what EXIF is to turn exchanged.
            with path.open("rb") as file, PIL.Image.open(file, formats=_FORMATS) as opened:
                opened.load()
                return _to_array(ImageOps.exif_transpose(opened))
    except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError) as error:
        raise InputError(path, "is too large", expected="at most 89 megapixels") from error
    except OSError as error:
        if error.errno is not None:
            raise InputError(path, f"cannot be read ({error.strerror})") from error
        problem = "is cut short or damaged" if "truncated" in str(error) else "cannot be read as an image"
        raise InputError(path, problem, expected=f"a whole image: {_EXPECTED}") from error
    except Exception as error:  # there is hardly one that decoders do not raise on damaged files
        raise InputError(path, "cannot be read as an image", expected=f"a whole image: {_EXPECTED}") from error


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Return what sorts paths by name as people do: image 10 after image 9.

    Examples
    --------
    >>> [path.name for path in sorted([Path("b10"), Path("b9"), Path("a")], key=natural_key)]
    ['a', 'b9', 'b10']
    """
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path.name


def _to_array(picture: PIL.Image.Image) -> NDArray[Any]:
    if picture.mode in _DEEP_MODES:
        values = np.asarray(picture)
        if values.dtype.kind == "f":
            return values.astype(np.float32)
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
            raise ValueError("integers beyond 16 bits")
        return values.astype(np.uint16)
    has_alpha = picture.mode in _ALPHA_MODES or "transparency" in picture.info
    if picture.mode in _GRAY_MODES and not has_alpha:
        return np.asarray(picture.convert("L"))
    return np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))
