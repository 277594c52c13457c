"""A bundle that was damaged, altered, extended or never was one is refused with every problem named."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from interlock.core.errors import BadInput
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.operations import bundle as bundle_module
from interlock.operations import contract as contract_module
from interlock.operations.bundle import is_bundle, pack, read_bundle
from interlock.operations.decide import Decider

FILES = ["manifest.json", "contract.json", "selftest.json", "checksums.json", "policy.onnx"]


def problems_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(BadInput) as caught:
        read_bundle(path)
    assert str(path) in caught.value.source
    return caught.value.problems


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy.bundle"))


def test_a_sound_bundle_is_read_alike_as_folder_and_zip(bundle: Path, tmp_path: Path) -> None:
    pack(bundle, tmp_path / "b.zip")
    pack(bundle, tmp_path / "again.zip")
    folder, zipped = read_bundle(bundle), read_bundle(tmp_path / "b.zip")
    assert folder.files == zipped.files
    assert folder.policy_hash == zipped.policy_hash
    assert len(folder.selftest) == 20
    assert sorted(folder.files) == sorted(FILES)
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_in_any_file_is_noticed(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    place = content.index(b"sha256") + 3 if name == "checksums.json" else len(content) // 2
    content[place] ^= 1
    (copy / name).write_bytes(bytes(content))
    if name != "checksums.json":
        assert [problem.partition(":")[0] for problem in problems_of(copy)] == [name]
        return
    sums = json.loads((copy / name).read_text())  # only the word that names the algorithm was hit
    first = next(iter(sums["files"]))
    sums["files"][first] = "0" * 64
    (copy / name).write_text(json.dumps(sums))
    assert problems_of(copy)[0].startswith(f"{first}: altered; its SHA-256 is ")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert [problem.partition(":")[0] for problem in problems_of(copy)] == [name]


def test_several_things_wrong_are_told_at_once(copy: Path) -> None:
    (copy / "policy.onnx").write_bytes(b"other")
    (copy / "selftest.json").unlink()
    (copy / "notes.txt").write_text("hello")
    assert [problem.partition(":")[0] for problem in problems_of(copy)] == ["selftest.json", "notes.txt", "policy.onnx"]


def test_an_extra_file_is_refused_even_with_a_checksum(copy: Path) -> None:
    (copy / "extra.bin").write_bytes(b"x")
    assert problems_of(copy) == ("extra.bin: not listed in checksums.json",)
    sums = json.loads((copy / "checksums.json").read_text())
    sums["files"]["extra.bin"] = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    (copy / "checksums.json").write_text(json.dumps(sums))
    assert problems_of(copy) == ("extra.bin: no part of a bundle, and not named by the scorer",)


def test_folders_and_links_inside_are_refused(copy: Path) -> None:
    (copy / "more").mkdir()
    os.symlink(copy / "manifest.json", copy / "link.json")
    assert [problem.partition(":")[0] for problem in problems_of(copy)] == ["link.json", "more"]


@pytest.mark.parametrize("name", FILES[:4])
def test_documents_that_are_not_json_objects_are_refused(copy: Path, name: str) -> None:
    for content in ("{", "[1]", "[" * 100_000):
        (copy / name).write_text(content)
        if name != "checksums.json":
            reseal(copy)
        (problem,) = problems_of(copy)
        assert problem.startswith(f"{name}: ")


def reseal(folder: Path) -> None:
    """Bring the checksums up to date, as a forger would."""
    import hashlib

    sums = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != "checksums.json"}
    (folder / "checksums.json").write_text(json.dumps({"algorithm": "sha256", "files": sums}))


@pytest.mark.parametrize("content", [{"policy.json": "{}", "policy.safetensors": ""}, {}])
def test_a_folder_that_is_no_bundle(tmp_path: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    (problem,) = problems_of(tmp_path)
    assert problem.startswith("not a bundle: none of manifest.json, contract.json, selftest.json, checksums.json is in")
    assert not is_bundle(tmp_path)


def test_a_path_that_is_missing_or_no_zip(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "nothing")[0].startswith("not found: expected a bundle")
    (tmp_path / "text").write_text("hello")
    assert problems_of(tmp_path / "text")[0].startswith("cannot be read as a zip file")
    assert not is_bundle(tmp_path / "text")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"domain": "tetris"}, "manifest.json: domain: 'tetris' is not installed; installed: "),
        ({"domain": ["bin_packing"]}, "manifest.json: domain: ['bin_packing'] is not installed"),
        ({"format": "other"}, "manifest.json: not a bundle: format is 'other', expected 'interlock-bundle'"),
        ({"format_version": 2}, "manifest.json: format_version 2 is not known to this installation, which reads 1"),
        ({"scenario": {"domain": "bin_packing"}}, "manifest.json: scenario.name: Field required"),
        ({"scenario": None}, "manifest.json: scenario."),
        ({"scenario_hash": "0" * 16}, "manifest.json: scenario_hash is '0000000000000000', the scenario's own is '"),
        ({"scorer": {"kind": "pickle"}}, "manifest.json: scorer: got {'kind': 'pickle'}, expected an object with kind"),
        ({"scorer": {"kind": "linear", "encoder": "placements"}}, "manifest.json: scorer.weights: expected a list of"),
        ({"scorer": {"kind": "linear", "weights": [1.0]}}, "manifest.json: scorer.encoder: expected the name of an"),
        (
            {"scorer": {"kind": "onnx", "encoder": "planes", "inputs": ["planes"]}},
            "manifest.json: scorer.file: None is",
        ),
        (
            {"scorer": {"kind": "onnx", "encoder": "planes", "file": "../x", "inputs": ["a"]}},
            "scorer.file: '../x' is not",
        ),
        ({"scorer": {"kind": "onnx", "encoder": "planes", "file": "policy.onnx"}}, "scorer.inputs: expected a list"),
        ({"cases": [{"request": 1}]}, "selftest.json: expected 'cases', a list of requests with their answers"),
    ],
)
def test_foreign_and_inconsistent_bundles(
    make_bundle: Callable[..., Path], change: dict[str, Any], expected: str
) -> None:
    assert any(expected in problem for problem in problems_of(make_bundle(**change)))


def test_a_bundle_of_another_schema_version(copy: Path) -> None:
    document = json.loads((copy / "contract.json").read_text())
    (copy / "contract.json").write_text(json.dumps({**document, "schema_version": 9}))
    reseal(copy)
    assert problems_of(copy) == (
        "contract.json: written for domain 'bin_packing', schema version 9; the installed domain is 'bin_packing' "
        "with version 1",
    )


def test_a_domain_that_cannot_be_loaded_is_told_with_its_reason(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = EntryPoint("broken", "interlock_no_such_plugin:DOMAIN", "interlock.domains")
    monkeypatch.setattr(contract_module, "entry_points", lambda group: [broken])
    (problem,) = problems_of(make_bundle(domain="broken"))
    assert "domain: broken cannot be loaded: ModuleNotFoundError: No module named 'interlock_no_such_plugin'" in problem


def test_a_forged_scenario_needs_a_forged_hash_and_changes_the_policy_hash(copy: Path, bundle: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    lax = BinPackingScenario(
        name="cut2", orientations=2, stability={"theta4": 0, "theta3": 0, "theta0": 0}, bin={"height": 10}
    )
    manifest["scenario"] = lax.model_dump(mode="json")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    reseal(copy)
    assert "scenario_hash" in problems_of(copy)[0]
    (copy / "manifest.json").write_text(json.dumps({**manifest, "scenario_hash": lax.hash()}))
    reseal(copy)
    assert read_bundle(copy).policy_hash != read_bundle(bundle).policy_hash


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"scorer": {"kind": "linear", "encoder": "none", "weights": [1.0]}}, "scorer.encoder: 'none' is unknown; the"),
        (
            {"scorer": {"kind": "linear", "encoder": "placements", "weights": [1.0]}},
            "the scorer fails on a valid request",
        ),
        ({"model": b"no model"}, "policy.onnx: is not a model that onnxruntime can run"),
    ],
)
def test_scorers_that_cannot_run_are_refused(make_bundle: Callable[..., Path], change: Any, expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        Decider(make_bundle(**change))


def test_networks_with_other_inputs_or_outputs_are_refused(
    make_bundle: Callable[..., Path], make_network: Callable[..., bytes]
) -> None:
    scorer = {"kind": "onnx", "encoder": "planes", "file": "policy.onnx", "inputs": ["action_mask"]}
    with pytest.raises(BadInput) as caught:
        Decider(make_bundle(model=make_network(output="logits"), scorer=scorer))
    assert caught.value.problems == (
        "policy.onnx: input 'planes' is not one of scorer.inputs in the manifest",
        "policy.onnx: has no output 'scores'",
    )


def zipped(path: Path, entries: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/evil", "a/../../b", "folder/manifest.json", "c:evil", "..\\evil"]
)
def test_zip_entries_with_a_path_are_refused_and_nothing_is_unpacked(bundle: Path, tmp_path: Path, name: str) -> None:
    entries = [(path.name, path.read_bytes()) for path in bundle.iterdir()]
    path = zipped(tmp_path / "evil.zip", [*entries, (name, b"x")])
    (problem,) = problems_of(path)
    assert "names in a zipped bundle have no folders" in problem
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_with_the_same_name_twice_is_refused(bundle: Path, tmp_path: Path) -> None:
    entries = [(path.name, path.read_bytes()) for path in bundle.iterdir()]
    assert problems_of(zipped(tmp_path / "b.zip", [*entries, entries[0]])) == (f"'{entries[0][0]}': is there 2 times",)


def test_too_many_files_and_too_many_bytes(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "MAX_BYTES", 1_000)
    pack(copy, tmp_path / "b.zip")
    for path in (copy, tmp_path / "b.zip"):
        assert "a bundle has at most 1000" in problems_of(path)[0]
    for k in range(12):
        (copy / f"{k}.txt").write_text("")
    assert problems_of(copy)[0] == "holds 17 files, a bundle has at most 16"


def test_a_damaged_zip_is_refused(bundle: Path, tmp_path: Path) -> None:
    pack(bundle, tmp_path / "b.zip")
    content = (tmp_path / "b.zip").read_bytes()
    for cut in (10, len(content) // 2, len(content) - 10):
        (tmp_path / "cut.zip").write_bytes(content[:cut])
        assert "cannot be read as a zip file" in problems_of(tmp_path / "cut.zip")[0]
    sound = read_bundle(bundle).files
    refused = 0
    for place in range(0, len(content), 997):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        (tmp_path / "damaged.zip").write_bytes(bytes(damaged))
        try:
            files = read_bundle(tmp_path / "damaged.zip").files
        except BadInput:
            refused += 1
        else:
            assert files == sound  # a date or a permission was hit
    assert refused > 0.9 * len(content) / 997


def test_contract_document_describes_request_and_answer(bundle: Path) -> None:
    document = json.loads((bundle / "contract.json").read_text())
    fields: dict[str, Any] = {field["name"]: field for field in document["answer_fields"]}
    assert fields["latency_ms"]["unit"] == "ms"
    assert fields["decision.z"]["unit"] == "cells"
    assert document["fallbacks"] == ["linear12", "dbl"]
    assert document["request"]["properties"]["height_map"]["items"]["items"]["maximum"] == 10
