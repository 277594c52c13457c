from pathlib import Path

import pooch
import pytest

from interlock.core.data_home import data_home


def test_the_variable_names_the_folder_of_the_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_DATA", str(tmp_path))
    assert data_home() == tmp_path
    monkeypatch.setenv("INTERLOCK_DATA", "")
    assert data_home() == Path(pooch.os_cache("interlock"))
    monkeypatch.delenv("INTERLOCK_DATA")
    assert data_home() == Path(pooch.os_cache("interlock"))
