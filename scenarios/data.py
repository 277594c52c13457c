"""Public data sets by name, source, licence, size and checksum; fetched, or taken from a folder and verified."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from interlock.core.data_home import data_home
from interlock.core.errors import BadInput, UsageError
from interlock.scenarios.files import sha256_of, write_bytes, write_folder
from interlock.scenarios.plugins import did_you_mean, known_as


@dataclass(frozen=True, slots=True)
class DataSet:
    """One public data file, or a folder of files.

    Attributes:
        name: as in ``interlock data NAME``.
        domain: that reads it.
        file: its file name, or that of the folder.
        about: what it holds.
        source: where it comes from.
        licence: as its source states it.
        size: bytes.
        sha256: of the file, or of the names and sums of the files of the folder.
        url: where it can be fetched; ``None`` if nobody publishes this very file, so that it is taken from a folder.
        parts: the files of the folder; empty for a single file. Scenarios find such a folder where ``get`` puts it.
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
    parts: tuple[str, ...] = ()


_PACKING = "github.com/alexfrom0815/Online-3D-BPP-DRL"
_ACADEMIC = "academic use only, method patent-protected, says the repository"
_SYSTEM = ("branches.csv", "buses.csv", "case.json", "generators.csv", "hydros.csv", "inflows.csv")

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
    DataSet(
        name="hydro_bolivia",
        domain="hydro",
        file="bolivia",
        about="Bolivian system: 11 hydro plants, 23 thermal units, 28 buses, 48 x 15 inflow scenarios (converted)",
        source="github.com/LearningToOptimize/DecisionRules.jl, examples/HydroPowerModels/bolivia",
        licence="MIT",
        size=159_717,
        sha256="4e2cb5742a1fd709ed778ce5b45ac335c7b499706555b1452f7262bd6a4dc44d",
        parts=_SYSTEM,
    ),
    DataSet(
        name="hydro_case3",
        domain="hydro",
        file="case3",
        about="3 buses, 2 thermal units, 1 hydro plant, 12 x 3 inflow scenarios (converted)",
        source="github.com/LAMPSPUC/HydroPowerModels.jl, testcases/case3",
        licence="MIT",
        size=1_774,
        sha256="4c446ad9a4829e5854c9701d2fa1255fc6734a56016c1dc5cc99cea89d3ddc69",
        parts=(*_SYSTEM, "scenarioprobability.csv"),
    ),
)


def get(name: str, source: Path | None = None, target: Path | None = None) -> Path:
    """A data file or folder, verified.

    Args:
        name: of the data set.
        source: folder to take it from; without one it is fetched, if it is published as such.
        target: folder to put it in; default: the user's cache, from where it need not be fetched twice. A single file
            that is taken from a folder stays there.

    Returns:
        path of the verified file or folder.

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
    """The file or folder from a folder; copied to ``target`` if one is given. Errors as ``get``."""
    path = source / entry.file
    if entry.parts and not path.is_dir() and source.name == entry.file:
        path = source
    missing = [name for name in entry.parts or (entry.file,) if not (path / name if entry.parts else path).is_file()]
    if missing:
        raise UsageError(f"data set {entry.name}: there is no {missing[0]} in {path if entry.parts else source}")
    found = sha256_of(path, entry.parts)
    if found != entry.sha256:
        raise BadInput(str(path), [f"not data set {entry.name}: sha256 is {found}, expected {entry.sha256}"])
    if entry.parts:
        return _copy_folder(entry, path, target if target is not None else data_home() / entry.domain)
    if target is None:
        return path
    write_bytes(target / entry.file, path.read_bytes())
    return target / entry.file


def _copy_folder(entry: DataSet, path: Path, target: Path) -> Path:
    """A copy of the parts of a folder; the folder itself if it is where it belongs already."""
    copy = target / entry.file
    if copy.resolve() == path.resolve():
        return path

    def fill(folder: Path) -> None:
        for name in entry.parts:
            shutil.copyfile(path / name, folder / name)

    write_folder(copy, fill)
    return copy


def fetch(entry: DataSet, target: Path | None = None) -> Path:
    """The file from where it is published, through the user's cache. Errors as ``get``."""
    if entry.url is None:
        raise UsageError(
            f"data set {entry.name} is a conversion that nobody publishes in this form: take it from a folder with "
            f"--from DIR that holds {_what(entry)}; its origin is {entry.source}"
        )
    import pooch

    folder = target if target is not None else data_home()
    try:
        return Path(pooch.retrieve(entry.url, f"sha256:{entry.sha256}", fname=entry.file, path=folder))
    except ValueError as error:
        raise BadInput(entry.url, [" ".join(str(error).split())]) from error
    except OSError as error:
        raise UsageError(f"data set {entry.name} cannot be fetched from {entry.url}: {error}") from error


def _what(entry: DataSet) -> str:
    return f"{entry.file}/ ({', '.join(entry.parts)})" if entry.parts else entry.file


def described(entry: DataSet) -> dict[str, Any]:
    """A catalogue entry as JSON."""
    return asdict(entry)


def listing() -> str:
    """The catalogue for people."""
    lines = []
    for entry in CATALOGUE:
        how = "fetched on request" if entry.url else f"from a folder: --from DIR that holds {_what(entry)}"
        lines += [
            f"{entry.name} ({entry.size / 1024:.0f} KiB)",
            f"  {entry.about}",
            f"  source {entry.source}; licence: {entry.licence}",
            f"  {how}; sha256 {entry.sha256}",
        ]
    return "\n".join(lines)
