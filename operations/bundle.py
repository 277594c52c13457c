"""The bundle: a folder, or a zip of it, that holds everything a decision needs and a checksum of each file.

* ``manifest.json``: format version, domain, resolved scenario and its hash, the scorer, where the policy came from;
* ``contract.json``: JSON Schema of request and answer, fields with units and ranges;
* ``selftest.json``: requests with the answers that this bundle gave when it was written;
* ``policy.onnx``: the network, unless the scorer's weights stand in the manifest, and its arrays for who wants to run
  it without onnxruntime;
* assets: files that the domain's contract needs beside its scenario, by name in the manifest;
* exhibits: copies of the policy for people to read, say a table or a picture, by name in the manifest; no decision is
  made from them;
* ``checksums.json``: SHA-256 of every other file.

Reading verifies all of it before anything is used, in memory, so that what was verified is what runs. Checksums show
damage and careless edits; they are no signature: who can rewrite them can rewrite the rest. Compare ``policy_hash``
with the one from the export where that matters. Nothing is ever unpickled.
"""

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.core.decision import DecisionContract
from interlock.core.errors import BadInput
from interlock.core.request import shown
from interlock.operations.contract import contract_document, in_words, load_contract

FORMAT = "interlock-bundle"
FORMAT_VERSION = 1
MANIFEST, CONTRACT, SELFTEST, CHECKSUMS = "manifest.json", "contract.json", "selftest.json", "checksums.json"
DOCUMENTS = (MANIFEST, CONTRACT, SELFTEST, CHECKSUMS)
SCORERS = ("onnx", "onnx_recurrent", "linear", "rule")
MAX_FILES = 16
MAX_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle.

    Attributes:
        path: where it was read.
        files: name -> content.
        manifest: the parsed manifest.
        selftest: ``{"request", "answer"}`` pairs.
        contract: the domain's decision contract for the bundled scenario.
        policy_hash: 16 hexadecimal digits over scorer, scenario, policy file and assets; the same for every export of a
            policy.
    """

    path: Path
    files: Mapping[str, bytes]
    manifest: Mapping[str, Any]
    selftest: tuple[Mapping[str, Any], ...]
    contract: DecisionContract
    policy_hash: str


def read_bundle(path: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BadInput: it is not a bundle, of an unknown format or domain, incomplete, or altered; every problem is listed.
    """
    path = Path(path)
    source = f"bundle {path}"
    files = _read_zip(path, source) if path.is_file() else _read_folder(path, source)
    _verify_checksums(files, source)
    documents = {name: _document(source, name, files[name]) for name in DOCUMENTS}
    manifest = documents[MANIFEST]
    problems = _format_problems(manifest) or _file_problems(manifest, files)
    if problems:
        raise BadInput(source, problems)
    assets = {name: files[name] for name in manifest.get("assets", ())}
    try:
        scenario, contract = load_contract(manifest.get("domain"), manifest.get("scenario"), assets)
    except BadInput as error:
        raise BadInput(source, [f"{MANIFEST}: {problem}" for problem in error.problems]) from error
    named, own = manifest.get("scenario_hash"), scenario.hash()
    if named != own:
        problems.append(f"{MANIFEST}: scenario_hash is {shown(named)}, the scenario's own is {own!r}")
    understood = (contract.domain, contract.schema_version)
    written = (documents[CONTRACT].get("domain"), documents[CONTRACT].get("schema_version"))
    if written != understood:
        problems.append(
            f"{CONTRACT}: written for domain {shown(written[0])}, schema version {shown(written[1])}; the installed "
            f"domain is {understood[0]!r} with version {understood[1]}"
        )
    cases = documents[SELFTEST].get("cases")
    if not isinstance(cases, list) or not all(_is_case(case) for case in cases):
        problems.append(f"{SELFTEST}: expected 'cases', a list of requests with their answers")
    if problems:
        raise BadInput(source, problems)
    return Bundle(path, files, manifest, tuple(cases or ()), contract, policy_hash(manifest, files))


def policy_hash(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    """What identifies a policy: its scorer, the scenario it was made for, its file and its domain's assets."""
    scorer = json.dumps([manifest["scorer"], manifest["scenario_hash"]], sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(scorer.encode() + files.get(manifest["scorer"].get("file", ""), b""))
    for name in sorted(manifest.get("assets", ())):
        digest.update(f"{name}:{hashlib.sha256(files[name]).hexdigest()};".encode())
    return digest.hexdigest()[:16]


def is_bundle(path: Path) -> bool:
    """Whether a folder or zip looks like a bundle of ours, sound or not: what an export may replace."""
    try:
        files = _read_zip(path, "") if path.is_file() else _read_folder(path, "")
        return bool(_document("", MANIFEST, files[MANIFEST]).get("format") == FORMAT)
    except (BadInput, KeyError):
        return False


def seal(folder: Path, *, manifest: Mapping[str, Any], contract: DecisionContract, cases: list[dict[str, Any]]) -> None:
    """Write the documents beside the policy file, if there is one, and the checksums of everything in the folder."""
    documents = {
        MANIFEST: {"format": FORMAT, "format_version": FORMAT_VERSION, **manifest},
        CONTRACT: contract_document(contract),
        SELFTEST: {"cases": cases},
    }
    for name, content in documents.items():
        (folder / name).write_text(_json(content), encoding="utf-8")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name != CHECKSUMS)
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / CHECKSUMS).write_text(_json({"algorithm": "sha256", "files": sums}), encoding="utf-8")


def pack(folder: Path, path: Path) -> None:
    """Zip a sealed folder; the same content gives the same bytes. ``path`` is replaced at once."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry in sorted(folder.iterdir()):
                info = zipfile.ZipInfo(entry.name)  # dated 1980, so that equal content gives equal bytes
                info.external_attr = 0o644 << 16
                archive.writestr(info, entry.read_bytes(), zipfile.ZIP_DEFLATED)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _read_folder(path: Path, source: str) -> dict[str, bytes]:
    if not path.is_dir():
        raise BadInput(source, ["not found: expected a bundle, a folder or a .zip of one"])
    entries = sorted(path.iterdir())
    problems = [
        f"{entry.name}: a bundle holds plain files only, no folders and no links"
        for entry in entries
        if entry.is_symlink() or not entry.is_file()
    ]
    sizes = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    problems += _size_problems(sizes)
    if problems:
        raise BadInput(source, problems)
    return {entry.name: entry.read_bytes() for entry in entries}


def _read_zip(path: Path, source: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            problems = _name_problems([entry.filename for entry in entries])
            problems += [f"{shown(entry.filename)}: is encrypted" for entry in entries if entry.flag_bits & 1]
            problems += _size_problems({entry.filename: entry.file_size for entry in entries})
            if problems:
                raise BadInput(source, problems)
            files = {}
            for entry in entries:
                with archive.open(entry) as file:
                    files[entry.filename] = file.read(entry.file_size)
            return files
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, EOFError, ValueError) as error:
        raise BadInput(source, [f"cannot be read as a zip file: {in_words(error)}"]) from error


def _name_problems(names: list[str]) -> list[str]:
    problems = [
        f"{shown(name)}: names in a zipped bundle have no folders; zip the files themselves"
        for name in names
        if "/" in name or "\\" in name or ":" in name or name in ("", ".", "..")
    ]
    return problems + [
        f"{shown(name)}: is there {names.count(name)} times" for name in set(names) if names.count(name) > 1
    ]


def _size_problems(sizes: Mapping[str, int]) -> list[str]:
    problems = []
    if len(sizes) > MAX_FILES:
        problems.append(f"holds {len(sizes)} files, a bundle has at most {MAX_FILES}")
    if sum(sizes.values()) > MAX_BYTES:
        problems.append(f"holds {sum(sizes.values())} bytes, a bundle has at most {MAX_BYTES}")
    return problems


def _verify_checksums(files: Mapping[str, bytes], source: str) -> None:
    """Every file is listed with its own checksum, every listed file is there, and the documents are complete."""
    missing = [name for name in DOCUMENTS if name not in files]
    if len(missing) == len(DOCUMENTS):
        found = ", ".join(sorted(files)[:5]) or "nothing"
        raise BadInput(source, [f"not a bundle: none of {', '.join(DOCUMENTS)} is in it, but {found}"])
    problems = [f"{name}: missing" for name in missing]
    if CHECKSUMS in files:
        listed = _document(source, CHECKSUMS, files[CHECKSUMS]).get("files")
        if not isinstance(listed, dict):
            raise BadInput(source, [*problems, f"{CHECKSUMS}: expected 'files', an object of name and SHA-256"])
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != CHECKSUMS}
        for name in sorted(set(listed) | set(sums)):
            if name not in sums and name not in missing:
                problems.append(f"{shown(name)[1:-1]}: missing, but listed in {CHECKSUMS}")
            elif name not in listed:
                problems.append(f"{shown(name)[1:-1]}: not listed in {CHECKSUMS}")
            elif name in sums and sums[name] != listed[name]:
                problems.append(f"{name}: altered; its SHA-256 is {sums[name]}, expected {shown(listed[name])}")
    if problems:
        raise BadInput(source, problems)


def _document(source: str, name: str, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(source, [f"{name}: is not JSON ({in_words(error)})"]) from error
    if not isinstance(document, dict):
        raise BadInput(source, [f"{name}: expected an object, found {shown(document)}"])
    return document


def _format_problems(manifest: Mapping[str, Any]) -> list[str]:
    if manifest.get("format") != FORMAT:
        return [f"{MANIFEST}: not a bundle: format is {shown(manifest.get('format'))}, expected {FORMAT!r}"]
    if manifest.get("format_version") != FORMAT_VERSION:
        version = shown(manifest.get("format_version"))
        return [
            f"{MANIFEST}: format_version {version} is not known to this installation, which reads {FORMAT_VERSION}; "
            "export the policy again, or install the version of interlock that wrote it"
        ]
    return []


def _file_problems(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> list[str]:
    """What is wrong with the scorer's description, the assets and the exhibits, and files that none of them names."""
    scorer, listed = manifest.get("scorer"), {}
    if not isinstance(scorer, dict) or scorer.get("kind") not in SCORERS:
        known = " or ".join(map(repr, SCORERS))
        return [f"{MANIFEST}: scorer: got {shown(scorer)}, expected an object with kind {known}"]
    kind, problems = scorer["kind"], []
    others = set(files) - set(DOCUMENTS)
    for kept in ("assets", "exhibits"):
        listed[kept] = manifest.get(kept, [])
        if not isinstance(listed[kept], list) or not all(isinstance(n, str) and n in others for n in listed[kept]):
            problems.append(f"{MANIFEST}: {kept}: got {shown(listed[kept])}, expected a list of files in the bundle")
            listed[kept] = []
    named = ["file"] * kind.startswith("onnx") + ["arrays"] * ("arrays" in scorer)
    for entry in named:
        if not isinstance(scorer.get(entry), str) or scorer[entry] not in others:
            problems.append(f"{MANIFEST}: scorer.{entry}: {shown(scorer.get(entry))} is not in the bundle")
    if kind.startswith("onnx") and not _is_list(scorer.get("inputs"), str):
        problems.append(f"{MANIFEST}: scorer.inputs: expected a list of input names")
    if kind == "linear" and not _is_list(scorer.get("weights"), (int, float)):
        problems.append(f"{MANIFEST}: scorer.weights: expected a list of numbers")
    if kind == "rule" and not isinstance(scorer.get("rule"), str):
        problems.append(f"{MANIFEST}: scorer.rule: expected the name of a fallback rule of the domain")
    if kind != "rule" and not isinstance(scorer.get("encoder"), str):
        problems.append(f"{MANIFEST}: scorer.encoder: expected the name of an encoder")
    others -= {
        *listed["assets"],
        *listed["exhibits"],
        *(scorer[entry] for entry in named if isinstance(scorer.get(entry), str)),
    }
    return problems + [f"{name}: no part of a bundle, and not named by the scorer" for name in sorted(others)]


def _is_case(case: Any) -> bool:
    return isinstance(case, dict) and isinstance(case.get("answer"), dict) and "request" in case


def _is_list(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, kind) for entry in value)
