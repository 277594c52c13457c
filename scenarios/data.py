"""Public data sets by name, source, licence, size and checksum; fetched, or taken from a folder and verified."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from interlock.core.errors import BadInput, UsageError
from interlock.scenarios.files import write_bytes
from interlock.scenarios.plugins import did_you_mean, known_as


@dataclass(frozen=True, slots=True)
class DataSet:
    """One public data file.

    Attributes:
        name: as in ``interlock data NAME``.
        domain: that reads it.
        file: its file name.
        about: what it holds.
        source: where it comes from.
        licence: as its source states it.
        size: bytes.
        sha256: of the file.
        url: where it can be fetched; ``None`` if nobody publishes this very file, so that it is taken from a folder.
    """

    name: str
    domain: str
    file: str
    about: str
    source: str
    licence: str
    size: int
    sha256: str
    url: str | None = None


_PACKING = "github.com/alexfrom0815/Online-3D-BPP-DRL"
_ACADEMIC = "academic use only, method patent-protected, says the repository"

CATALOGUE: tuple[DataSet, ...] = (
    DataSet(
        name="bin_packing_rs",
        domain="bin_packing",
        file="rs.csv.gz",
        about="2,100 sequences of 100 boxes, each drawn independently (converted from dataset/rs.pt)",
        source=_PACKING,
        licence=_ACADEMIC,
        size=718_848,
        sha256="260a4b96a787be8ea78d9de58784d5f65356c55daf5926de6d90ad6d7ffe27b7",
    ),
    DataSet(
        name="bin_packing_cut_1",
        domain="bin_packing",
        file="cut_1.csv.gz",
        about="2,100 bins cut into boxes, ordered by the height of their floor (converted from dataset/cut_1.pt)",
        source=_PACKING,
        licence=_ACADEMIC,
        size=180_323,
        sha256="e0b66f7d2c6159682c04eafdcf70ecf550d855ac81634a571df9bc729dcc266f",
    ),
    DataSet(
        name="bin_packing_cut_2",
        domain="bin_packing",
        file="cut_2.csv.gz",
        about="2,100 bins cut into boxes, in stacking order (converted from dataset/cut_2.pt)",
        source=_PACKING,
        licence=_ACADEMIC,
        size=182_302,
        sha256="2a8381a3e1dfcdd5c6671f2599a445c3cfd4173560e7b86bb8be85e00c98f343",
    ),
    DataSet(
        name="bin_packing_four_bins",
        domain="bin_packing",
        file="four_bins_cut_2.csv.gz",
        about="500 blocks of four bins cut into boxes, in stacking order (converted from dataset/4bins_cut_2.pt)",
        source=_PACKING,
        licence=_ACADEMIC,
        size=171_698,
        sha256="f1cf9d6557eb11fcc7efe9409cf8a87495083a112bd9d8699da0fea7aba32e09",
    ),
)


def get(name: str, source: Path | None = None, target: Path | None = None) -> Path:
    """A data file, verified.

    Args:
        name: of the data set.
        source: folder to take it from; without one it is fetched, if it is published as such.
        target: folder to put it in; default: the user's cache, from where it need not be fetched twice.

    Returns:
        path of the verified file.

    Raises:
        UsageError: no such data set, or it is not in ``source``, or it cannot be fetched.
        BadInput: the file is not the one that was catalogued.
    """
    known = {entry.name: entry for entry in CATALOGUE}
    key = known_as(name, known)
    if key not in known:
        raise UsageError(f"there is no data set {name!r}{did_you_mean(key, known)}; there are: {', '.join(known)}")
    return fetch(known[key], target) if source is None else take(known[key], source, target)


def take(entry: DataSet, source: Path, target: Path | None = None) -> Path:
    """The file from a folder; copied to ``target`` if one is given. Errors as ``get``."""
    path = source / entry.file
    if not path.is_file():
        raise UsageError(f"data set {entry.name}: there is no {entry.file} in {source}")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != entry.sha256:
        raise BadInput(str(path), [f"not data set {entry.name}: sha256 is {found}, expected {entry.sha256}"])
    if target is None:
        return path
    write_bytes(target / entry.file, content)
    return target / entry.file


def fetch(entry: DataSet, target: Path | None = None) -> Path:
    """The file from where it is published, through the user's cache. Errors as ``get``."""
    if entry.url is None:
        raise UsageError(
            f"data set {entry.name} is a conversion that nobody publishes in this form: take it from a folder with "
            f"--from DIR that holds {entry.file}; its origin is {entry.source}"
        )
    import pooch

    folder = target if target is not None else Path(pooch.os_cache("interlock"))
    try:
        return Path(pooch.retrieve(entry.url, f"sha256:{entry.sha256}", fname=entry.file, path=folder))
    except ValueError as error:
        raise BadInput(entry.url, [" ".join(str(error).split())]) from error
    except OSError as error:
        raise UsageError(f"data set {entry.name} cannot be fetched from {entry.url}: {error}") from error


def described(entry: DataSet) -> dict[str, Any]:
    """A catalogue entry as JSON."""
    return asdict(entry)


def listing() -> str:
    """The catalogue for people."""
    lines = []
    for entry in CATALOGUE:
        how = "fetched on request" if entry.url else f"from a folder: --from DIR that holds {entry.file}"
        lines += [
            f"{entry.name} ({entry.size / 1024:.0f} KiB)",
            f"  {entry.about}",
            f"  source {entry.source}; licence: {entry.licence}",
            f"  {how}; sha256 {entry.sha256}",
        ]
    return "\n".join(lines)
