"""The shape of the house: which floor may import which, no circles, files of readable size, links, entry points."""

import ast
import graphlib
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from interlock.core.problem import DomainInfo, MethodInfo, Verb

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("core", "solvers", "domains", "operations", "scenarios")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENTRY_POINTS = sorted(
    target for group in PROJECT["entry-points"].values() for target in group.values()
) + list(PROJECT["scripts"].values())  # fmt: skip


def sources(*folders: str) -> list[Path]:
    """Python files below folders of the repository, without those of virtual environments and caches."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("interlock", *(parts[:-1] if parts[-1] == "__init__" else parts)))


MODULES = {module_name(path): path for path in sources(*FLOORS, "configs")}


def statements(body: list[ast.stmt], *, lazy: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements that run; those inside functions only if ``lazy``, those for type checkers never."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from statements(node.orelse, lazy=lazy)
        elif lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for block in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, block, []), lazy=lazy)
            for handler in getattr(node, "handlers", []):
                yield from statements(handler.body, lazy=lazy)


def imported(path: Path, *, lazy: bool = True) -> set[str]:
    """Full names of the modules that a file imports; of ours, the module itself rather than its package."""
    names: set[str] = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8")).body, lazy=lazy):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        else:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in MODULES else str(node.module))
    return names


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] == "interlock" and name != "interlock"}


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def allowed(importer: str, name: str) -> bool:
    """Whether one of our modules may import another, at any time."""
    floor = importer.split(".")[1]
    if floor == "solvers":
        return within(name, "interlock.solvers")
    if floor == "core":
        return within(name, "interlock.core", "interlock.solvers.interface")
    if floor == "domains":
        own = ".".join(importer.split(".")[:3])
        return within(name, "interlock.core", "interlock.solvers", own)
    if floor == "operations":
        return within(name, "interlock.operations", "interlock.core")
    return floor == "scenarios"


def test_each_floor_imports_only_what_it_may() -> None:
    wrong = [
        f"{importer} imports {name}"
        for importer, path in MODULES.items()
        for name in sorted(ours(imported(path)))
        if not allowed(importer, name)
    ]
    assert wrong == []


def test_the_rule_of_the_floors_itself() -> None:
    assert allowed("interlock.core.search.cross_entropy", "interlock.solvers.interface")
    assert allowed("interlock.domains.hydro.problem", "interlock.domains.hydro.model")
    assert allowed("interlock.scenarios.cli", "interlock.operations.decide")
    assert not allowed("interlock.core.problem", "interlock.solvers.highs")
    assert not allowed("interlock.core.problem", "interlock.corex")
    assert not allowed("interlock.domains.hydro.problem", "interlock.domains.bin_packing.model")
    assert not allowed("interlock.domains.hydro.problem", "interlock.scenarios.store")
    assert not allowed("interlock.operations.decide", "interlock.domains.bin_packing.decision")
    assert not allowed("interlock.solvers.highs", "interlock.core.errors")
    assert not allowed("interlock.configs", "interlock.core.errors")


def test_operations_and_what_they_load_never_import_torch() -> None:
    reached: dict[str, str] = {}
    waiting = [(name, name) for name in MODULES if within(name, "interlock.operations")]
    waiting += [(name, name) for name in MODULES if re.fullmatch(r"interlock\.domains\.\w+\.decision", name)]
    assert waiting
    heavy = []
    while waiting:
        name, via = waiting.pop()
        if name in reached or name not in MODULES:
            continue
        reached[name] = via
        # Operations and decision rooms may not even load torch lazily; what they import may, for others' sake.
        names = imported(MODULES[name], lazy=name == via)
        heavy += [f"{via} reaches {name}, which imports {n}" for n in names if n.split(".")[0] == "torch"]
        waiting += [(n, via) for n in ours(names)]
    assert heavy == []


def test_torch_is_not_loaded_by_operations() -> None:
    names = [name for name in MODULES if within(name, "interlock.operations")]
    names += [name for name in MODULES if re.fullmatch(r"interlock\.domains\.\w+\.decision", name)]
    code = f"import importlib, sys; [importlib.import_module(n) for n in {names!r}]; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests", check=False).returncode == 0


def test_no_module_imports_itself_through_others() -> None:
    graph = {name: ours(imported(path, lazy=False)) - {name} for name, path in MODULES.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_imports_are_absolute_and_through_the_package() -> None:
    wrong = []
    for path in sources(*FLOORS, "configs", "tests", "benchmarks", "notebooks", "src/interlock"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (
                node.level or str(node.module).split(".")[0] in (*FLOORS, "configs")
            ):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
            if isinstance(node, ast.Import) and any(a.name.split(".")[0] in (*FLOORS, "configs") for a in node.names):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []


def test_files_have_a_readable_size() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in sources(*FLOORS, "configs", "tests", "benchmarks", "notebooks")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 500
    }
    assert long == {}


def test_configurations_are_values_only() -> None:
    assert [path.relative_to(ROOT).as_posix() for path in sources("configs")] == ["configs/__init__.py"]
    body = ast.parse((ROOT / "configs/__init__.py").read_text(encoding="utf-8")).body
    assert all(isinstance(node, ast.Expr) for node in body)


def test_nothing_names_a_folder_of_one_machine_or_a_package_index() -> None:
    machine = re.compile(r"(?<![\w.~/-])/(?:home|root|Users|work|mnt|tmp)/\w|index-url|[\w-]+\.internal\b")
    kinds = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".json", ""}
    folders = [ROOT / name for name in (*FLOORS, "configs", "benchmarks", "notebooks", "tests", ".ci")]
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in files
        if path.suffix in kinds and "__pycache__" not in path.parts and path != Path(__file__).resolve()
        and (match := machine.search(path.read_text(encoding="utf-8", errors="replace")))
    ]  # fmt: skip
    assert found == []


@pytest.mark.parametrize("folder", [*FLOORS, "configs"])
def test_the_import_root_links_to_the_real_folders(folder: str) -> None:
    link = ROOT / "src" / "interlock" / folder
    assert link.is_symlink()
    assert link.resolve() == ROOT / folder
    assert (ROOT / folder / "__init__.py").is_file()


def resolve(target: str) -> object:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("target", ENTRY_POINTS)
def test_entry_points_lead_somewhere(target: str) -> None:
    found = resolve(target)
    if isinstance(found, DomainInfo | MethodInfo):
        for entry in fields(found):
            value = getattr(found, entry.name)
            if isinstance(value, str) and re.fullmatch(r"[\w.]+:\w+", value) and entry.name != "configs":
                assert callable(resolve(value)), f"{entry.name}: {value}"
    if isinstance(found, DomainInfo):
        package, _, folder = found.configs.partition(":")
        assert list((Path(str(importlib.import_module(package).__file__)).parent / folder).glob("*.yaml"))
        for name, verb in found.verbs.items():
            assert isinstance(verb, Verb) or callable(resolve(verb if isinstance(verb, str) else verb.play)), name
