"""The weights of RIFE, from the cache or from a folder of the same files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from safetensors import safe_open
from torch import Tensor

from rb2v.errors import InputError, check_member
from rb2v.interpolation.learned.rife.network import VERSIONS, Rife
from rb2v.models import fetched_file
from rb2v.training.tensor_files import check_file, fill

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {version: ("flownet", "contextnet", "unet") if version == "3.1" else ("flownet",) for version in VERSIONS}
)
"""The files of each version: parts of its network."""

_TEACHER = "block_tea."
"""A part that sees the true frame, and only while the others are trained."""
_MODELS = {"4.6": "rife-4.6"}
"""Names in the catalogue of those versions that are no part of ``rife``."""


def catalogue_name(version: str) -> str:
    """Return the name under which the weights of a version are fetched.

    Examples
    --------
    >>> catalogue_name("4.0"), catalogue_name("4.6")
    ('rife', 'rife-4.6')
    """
    return _MODELS.get(version, "rife")


def weights_file(version: str, part: str) -> str:
    """Return the name of a file of weights.

    Examples
    --------
    >>> weights_file("4.0", "flownet")
    '4.0-flownet.safetensors'
    """
    return f"{version}-{part}.safetensors"


def load_rife(version: str, folder: Path | None = None) -> Rife:
    """Return a network of RIFE with its weights.

    Parameters
    ----------
    version : {"3.1", "3.5", "3.8", "4.0", "4.6"}
        Which of the networks.
    folder : Path, optional
        Folder of the files; by default the one that ``rb2v models fetch`` fills.

    Returns
    -------
    Rife
        On the CPU, in float32 and evaluation mode.

    Raises
    ------
    InputError
        If there is no such version, a file is missing or damaged, or a tensor is missing, unknown, of another shape or
        not finite, named in the message.
    """
    check_member("version", version, VERSIONS)
    model = catalogue_name(version)
    how_to_fetch = f"what 'rb2v models fetch {model}' brings"
    paths = {}
    for part in PARTS[version]:
        name = weights_file(version, part)
        paths[part] = fetched_file(model, name) if folder is None else folder / name
        if not paths[part].is_file():
            expected = f"run 'rb2v models fetch {model}'" if folder is None else f"the folder of {how_to_fetch}"
            raise InputError(paths[part], f"the weights of RIFE {version} are not here", expected=expected)
    network = VERSIONS[version]()
    for part, path in paths.items():
        fill(path, network.get_submodule(part), _read(path, how_to_fetch), f"RIFE {version}", how_to_fetch)
    return network.eval().requires_grad_(False)


def _read(path: Path, how_to_fetch: str) -> dict[str, Tensor]:
    check_file(path, how_to_fetch)
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if not name.startswith(_TEACHER)]  # noqa: SIM118 - no mapping
            return {name: file.get_tensor(name) for name in names}
    except Exception as error:  # of sizes that no tensor has, torch raises what it likes
        problem = "is no safetensors file, or is cut short; remove it to fetch it again"
        raise InputError(path, problem, expected=how_to_fetch) from error
