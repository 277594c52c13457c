"""Reading a file as text: what is not a table is refused with a message that helps; rows keep their numbers."""

import gzip
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.errors import InterlockError, UsageError
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.bin_packing.userdata import UserItems, read_items

HEADER = "stream_id,position,length,width,height"


def read(path: Path, on_oversize: str = "error") -> UserItems:
    scenario = BinPackingScenario.model_validate({"name": "test", "data": {"on_oversize": on_oversize}})
    return read_items(path, scenario)


def write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "items.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def refusal(path: Path, *, code: int = 3) -> str:
    with pytest.raises(InterlockError) as caught:
        read(path)
    assert caught.value.exit_code == code
    return str(caught.value)


@pytest.mark.parametrize("name", ["items.csv.gz", "items.csv", "items.parquet"])
def test_the_formats_give_the_same(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame(
        {"stream_id": [1, 1, 2], "position": [0, 1, 0], "length": [2, 3, 4], "width": 5, "height": [2.0, 3, 1]}
    )
    path = tmp_path / name
    if name.endswith("parquet"):
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    items = read(path)
    assert items.stream_ids == ["1", "2"]
    assert items.items.tolist() == [[[2, 5, 2], [3, 5, 3]], [[4, 5, 1], [0, 0, 0]]]
    assert items.extra["row"].tolist() == ([1, 2, 3] if name.endswith("parquet") else [2, 3, 4])


def test_blank_lines_a_byte_order_mark_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes(b"\xef\xbb\xbf" + HEADER.encode() + b'\r\n\r\n"a, b",0, 2 ,2,2\r\n,,,,\r\n"a, b",1,x,2,2\r\n\r\n')
    assert "row 5, length: 'x'" in refusal(path)
    path.write_bytes(path.read_bytes().replace(b"x", b"3"))
    items = read(path)
    assert items.stream_ids == ["a, b"]
    assert items.extra["row"].tolist() == [3, 5]


def test_a_repeated_column(tmp_path: Path) -> None:
    assert "column length appears more than once" in refusal(write(tmp_path, "a,0,2,2,2,2", header=HEADER + ",length"))


def test_rows_of_another_length(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "a,0,2,2,2", "a,1,12,5,2,2", "a,2,2,2"))
    assert "row 3, 6 fields where the header has 5 (a comma inside a number splits it in two: write 12.5)" in message
    assert "row 4, 4 fields where the header has 5" in message


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes(content)
    assert "is empty; expected a header and one row per item" in refusal(path, code=2)
    packed = tmp_path / "items.csv.gz"
    packed.write_bytes(gzip.compress(content))
    assert "is empty" in refusal(packed, code=2)


def test_a_header_without_items(tmp_path: Path) -> None:
    assert "holds a header but no items" in refusal(write(tmp_path), code=2)
    path = tmp_path / "items.parquet"
    pd.read_csv(write(tmp_path)).to_parquet(path)
    with pytest.raises(UsageError, match="holds a header but no items"):
        read(path)


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_separator(tmp_path: Path, separator: str, name: str) -> None:
    path = write(tmp_path, "a,0,2,2,2".replace(",", separator), header=HEADER.replace(",", separator))
    assert f"its columns are separated by {name}; expected commas, and points in decimal numbers" in refusal(path)


def test_files_that_are_not_tables(tmp_path: Path) -> None:
    assert "is a folder; expected a CSV" in refusal(tmp_path)
    write(tmp_path, "a,0,2,2,2")
    assert "no such file; did you mean items.csv?" in refusal(tmp_path / "item.csv")
    assert "no such file" in refusal(tmp_path / "nowhere" / "x.csv")
    cases = {
        "text.csv": (HEADER.encode() + b"\nM\xfcller,0,2,2,2", "row 2: byte 0xfc is not UTF-8 text"),
        "utf16.csv": (HEADER.encode("utf-16"), "is UTF-16 text; expected UTF-8"),
        "binary.csv": (bytes(range(8)) * 20, "is a binary file"),
        "book.csv": (b"PK\x03\x04" + bytes(50), "is a zip archive or a spreadsheet"),
        "cut.csv.gz": (gzip.compress(HEADER.encode() * 50)[:40], "is not a readable gzip file"),
        "fake.parquet": (b"hello there", "is not a readable parquet file"),
        "torn.parquet": (b"PAR1" + bytes(30) + b"PAR1", "is not a readable parquet file"),
        "quotes.csv": (HEADER.encode() + b'\n"a,0,2,2,2\n', "check the quotes before it"),
    }
    for name, (content, expected) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert expected in refusal(path), name


def test_parquet_values_are_checked_like_text(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    frame = pd.DataFrame(
        {"stream_id": "a", "position": [0, 1, 2], "length": [2.0, None, 3.5], "width": 2, "height": [2, 0, 2]}
    )
    frame.to_parquet(path)
    message = refusal(path)
    assert "row 2, length: empty, expected a number of cells above 0; height: '0'" in message
    assert "1 problem\n" in message


@settings(max_examples=150, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.text(alphabet='ab01.,;"\n\r\t -', max_size=200).map(lambda text: (HEADER + "\n" + text).encode()),
    )
)
def test_any_content_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "items.csv"
    path.write_bytes(content)
    try:
        outcome = (read(path, "reject").items[:, 0] > 0).all()
    except InterlockError as error:
        outcome = error.exit_code in (2, 3)
    assert outcome
