import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.core.errors import BadInput, UsageError
from interlock.scenarios import data

CONTENT = b"sequence,position,l,w,h\n0,0,2,3,4\n"
SET = data.DataSet(
    name="mine",
    domain="bin_packing",
    file="mine.csv",
    about="one box",
    source="here",
    licence="none",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A web server with the file."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "mine.csv").write_bytes(CONTENT)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_published_files_are_the_catalogued_ones(packing_data: Path):
    for entry in (entry for entry in data.CATALOGUE if entry.domain == "bin_packing"):
        path = data.get(entry.name, packing_data)
        assert path == packing_data / entry.file
        assert path.stat().st_size == entry.size


def test_every_entry_says_where_it_comes_from_and_under_which_licence():
    assert len({entry.name for entry in data.CATALOGUE}) == len(data.CATALOGUE) == 6
    for entry in data.CATALOGUE:
        assert all((entry.domain, entry.file, entry.about, entry.source, entry.licence))
        assert len(entry.sha256) == 64
        assert entry.name in data.listing()
        assert entry.licence in data.listing()


def test_taking_from_a_folder(tmp_path: Path):
    (tmp_path / "mine.csv").write_bytes(CONTENT)
    assert data.take(SET, tmp_path) == tmp_path / "mine.csv"
    copied = data.take(SET, tmp_path, tmp_path / "new" / "folder")
    assert copied == tmp_path / "new" / "folder" / "mine.csv"
    assert copied.read_bytes() == CONTENT
    with pytest.raises(UsageError, match=r"there is no mine\.csv in"):
        data.take(SET, tmp_path / "nowhere")


SYSTEM = replace(
    SET,
    name="system",
    domain="hydro",
    file="system",
    parts=("a.csv", "b.csv"),
    # of the lines "NAME SUM" in the order of the names
    sha256=hashlib.sha256(
        "".join(f"{n} {hashlib.sha256(c).hexdigest()}\n" for n, c in (("a.csv", b"1\n"), ("b.csv", b"2\n"))).encode()
    ).hexdigest(),
)


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A folder that holds the folder of a data set, and something else in it."""
    folder = tmp_path / "here" / "system"
    folder.mkdir(parents=True)
    for name, content in (("a.csv", "1\n"), ("b.csv", "2\n"), ("notes.txt", "mine")):
        (folder / name).write_text(content)
    return tmp_path / "here"


def test_a_folder_goes_where_scenarios_find_it(system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INTERLOCK_DATA", str(tmp_path / "store"))
    for source in (system, system / "system"):
        copied = data.take(SYSTEM, source)
        assert copied == tmp_path / "store" / "hydro" / "system"
        assert sorted(file.name for file in copied.iterdir()) == ["a.csv", "b.csv"]
    assert data.take(SYSTEM, tmp_path / "store" / "hydro") == copied
    assert data.take(SYSTEM, system, tmp_path / "else") == tmp_path / "else" / "system"


def test_a_folder_with_a_file_missing_or_changed_is_refused(system: Path, tmp_path: Path):
    (system / "system" / "b.csv").write_text("3\n")
    with pytest.raises(BadInput, match="not data set system"):
        data.take(SYSTEM, system, tmp_path / "else")
    (system / "system" / "b.csv").unlink()
    with pytest.raises(UsageError, match=r"there is no b\.csv in"):
        data.take(SYSTEM, system, tmp_path / "else")
    assert not (tmp_path / "else").exists()
    with pytest.raises(UsageError, match=r"holds bolivia/ \(branches\.csv, buses\.csv, case\.json"):
        data.get("hydro-bolivia")


def test_the_published_systems_are_the_catalogued_ones(hydro_data: Path, tmp_path: Path):
    for entry in (entry for entry in data.CATALOGUE if entry.domain == "hydro"):
        path = data.get(entry.name, hydro_data, tmp_path)
        assert path == tmp_path / entry.file
        assert sum(file.stat().st_size for file in path.iterdir()) == entry.size


def test_another_file_of_the_same_name_is_refused(tmp_path: Path):
    (tmp_path / "mine.csv").write_bytes(CONTENT + b"0,1,2,2,2\n")
    with pytest.raises(BadInput, match=f"sha256 is .*, expected {SET.sha256}"):
        data.take(SET, tmp_path)


def test_fetching_verifies_the_checksum(address: str, tmp_path: Path):
    published = replace(SET, url=f"{address}/mine.csv")
    path = data.fetch(published, tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    with pytest.raises(BadInput, match="hash"):
        data.fetch(replace(published, sha256="0" * 64), tmp_path / "other")
    assert not (tmp_path / "other" / "mine.csv").exists()
    with pytest.raises(UsageError, match="cannot be fetched"):
        data.fetch(replace(published, url=f"{address}/gone.csv"), tmp_path / "gone")


def test_what_nobody_publishes_is_taken_from_a_folder_only():
    with pytest.raises(UsageError, match=r"take it from a folder with --from DIR that holds cut_2\.csv\.gz"):
        data.get("bin-packing-cut-2")
    with pytest.raises(UsageError, match="no data set 'bin_packing_cut_9', did you mean 'bin_packing_cut_"):
        data.get("bin_packing_cut_9")
