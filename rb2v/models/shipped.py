"""Weights that the project trains and ships, as ``models/manifest.json`` lists them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from rb2v.io.store import check_schema, read_json, validate

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ShippedModel:
    """Weights of the project's own training."""

    name: str
    path: Path
    """Where they are in a checkout; an installation has the list, and of the weights those for ``rb2v.deblur``."""
    n_bytes: int
    sha256: str
    purpose: str
    source: str
    licence: str


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    file: str = Field(pattern=r"^[\w.-]+\.safetensors$")
    bytes: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    purpose: str
    source: str
    licence: str


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    schema_: int = Field(alias="schema")
    models: list[_Entry]


def list_shipped() -> list[ShippedModel]:
    """Return the weights that the project ships, or nothing where their list is not installed.

    Raises
    ------
    InputError
        If the list is damaged.
    """
    checkout = Path(__file__).resolve().parents[2] / "models"
    installed = Path(sys.prefix) / "share" / "rb2v" / "models"
    folder = next((folder for folder in (checkout, installed) if (folder / _MANIFEST).is_file()), None)
    return [] if folder is None else read_manifest(folder / _MANIFEST)


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
            licence=entry.licence,
        )
        for entry in validate(_Manifest, document, path).models
    ]
