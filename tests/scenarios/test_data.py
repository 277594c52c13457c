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
    for entry in data.CATALOGUE:
        path = data.get(entry.name, packing_data)
        assert path == packing_data / entry.file
        assert path.stat().st_size == entry.size


def test_every_entry_says_where_it_comes_from_and_under_which_licence():
    assert len({entry.name for entry in data.CATALOGUE}) == len(data.CATALOGUE) == 4
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
