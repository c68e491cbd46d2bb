"""Weights that the project trains and ships, as ``models/manifest.json`` lists them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from rb2v.io.store import check_schema, read_json, validate

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ShippedModel:
    """Weights of the project's own training."""

    name: str
    path: Path
    n_bytes: int
    sha256: str
    purpose: str
    source: str
    license: str


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    file: str = Field(pattern=r"^[\w.-]+\.safetensors$")
    bytes: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    purpose: str
    source: str
    license: str


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    schema_: int = Field(alias="schema")
    models: list[_Entry]


def list_shipped() -> list[ShippedModel]:
    """Return the weights that the project ships, which are data of this package.

    Raises
    ------
    InputError
        If the list is damaged.
    """
    return read_manifest(Path(str(files(__package__) / "weights" / _MANIFEST)))


def shipped_path(name: str) -> Path:
    """Return the file of weights that the project ships under a name."""
    return next(model.path for model in list_shipped() if model.name == name)


def read_manifest(path: Path) -> list[ShippedModel]:
    """Return the weights that a list of them names, which lie beside it.

    Raises
    ------
    InputError
        If the list is damaged, or a key is missing or unknown.
    """
    document = read_json(path)
    check_schema(path, document)
    return [
        ShippedModel(
            name=entry.name,
            path=path.parent / entry.file,
            n_bytes=entry.bytes,
            sha256=entry.sha256,
            purpose=entry.purpose,
            source=entry.source,
            license=entry.license,
        )
        for entry in validate(_Manifest, document, path).models
    ]
