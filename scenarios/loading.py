"""Scenario files and method presets: found by name or path, `extends` followed, settings applied, everything checked.

A scenario file holds only what differs from the defaults in the domain's schema. Its `domain` and `name` are filled in
from the domain that reads it and from the file name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from interlock.core.errors import BadInput, UsageError
from interlock.core.problem import DomainInfo, MethodInfo
from interlock.scenarios import plugins
from interlock.scenarios.nested import assign, first_line, merge, parse_settings

OUR_PRESETS = "interlock.configs:methods"


@dataclass(frozen=True, slots=True)
class Method:
    """A method with its settings, ready to train.

    Attributes:
        preset: name of the preset (the name of the learned policy in tables).
        info: the plug-in.
        config: its checked settings, an instance of the method's pydantic model.
    """

    preset: str
    info: MethodInfo
    config: Any


def scenario_names(domain: DomainInfo) -> list[str]:
    """Names of the scenarios that come with a domain."""
    return sorted(_yaml_files(_folder(domain.configs)))


def read_differences(domain: DomainInfo, scenario: str, settings: Sequence[str] = ()) -> dict[str, Any]:
    """What a scenario changes of the defaults, `extends` and settings applied, unchecked.

    Args:
        domain: whose scenario.
        scenario: its name (dashes or underscores), or a path to a YAML file.
        settings: ``key=value`` with dotted keys, applied in order.

    Raises:
        UsageError: no scenario has this name, or a setting is malformed.
        BadInput: a file cannot be read.
    """
    return _scenario_values(domain, scenario, settings)[0]


def load_scenario(domain: DomainInfo, scenario: str, settings: Sequence[str] = ()) -> Any:
    """A checked scenario: an instance of the domain's schema. Arguments and errors as `read_differences`.

    Raises:
        BadInput: listing every wrong field.
    """
    from interlock.scenarios.checking import validate

    values, source, texts = _scenario_values(domain, scenario, settings)
    return validate(plugins.resolve(domain.schema), values, source=source, texts=texts)


def json_schema(domain: DomainInfo) -> dict[str, Any]:
    """JSON Schema of the domain's scenario files, for editors."""
    schema: dict[str, Any] = plugins.resolve(domain.schema).model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "scenario that this one starts from: name or path",
    }
    schema["required"] = [key for key in schema.get("required", []) if key not in ("domain", "name")]
    return schema


def preset_names(domain: DomainInfo) -> list[str]:
    """Names of the method presets that a domain can use: its own, ours, and every method with its defaults."""
    own = _yaml_files(_folder(domain.configs) / "methods")
    ours = _yaml_files(_folder(OUR_PRESETS))
    return sorted({*own, *ours, *plugins.names("methods")})


def load_method(
    domain: DomainInfo, preset: str, scenario_settings: Mapping[str, Any] | None = None, settings: Sequence[str] = ()
) -> Method:
    """A method with its checked settings.

    Args:
        domain: whose presets are looked at before ours.
        preset: name of a preset, a path to one, or the name of a method (its defaults).
        scenario_settings: settings of the scenario, on top of the preset.
        settings: ``key=value`` of the command line, on top of all.

    Raises:
        UsageError: there is no such preset or method.
        BadInput: listing every wrong setting.
    """
    from interlock.scenarios.checking import validate

    name, values, source = _preset_values(domain, preset)
    unknown = sorted(set(values) - {"method", "settings", "title"})
    if unknown or not isinstance(values.get("method"), str):
        problems = [f"{key}: unknown key; there are: method, settings, title" for key in unknown]
        if not isinstance(values.get("method"), str):
            problems.append("method: missing; the name of a method")
        raise BadInput(source, problems)
    info = plugins.load("methods", values["method"])
    changes, texts = parse_settings(settings, "--method-set")
    merged = assign(merge(values.get("settings") or {}, scenario_settings or {}), changes)
    config = validate(
        plugins.resolve(info.config), merged, source=f"settings of method {name}", texts=texts, option="--method-set"
    )
    return Method(name, info, config)


def _scenario_values(
    domain: DomainInfo, scenario: str, settings: Sequence[str]
) -> tuple[dict[str, Any], str, dict[str, str]]:
    file = _find(scenario, _yaml_files(_folder(domain.configs)), f"{domain.name} scenario")
    values = _read_extended(file, _yaml_files(_folder(domain.configs)), f"{domain.name} scenario", ())
    changes, texts = parse_settings(settings, "--set")
    named = {"domain": domain.name, "name": _stem(file), **values}
    return assign(named, changes), str(file), texts


def _preset_values(domain: DomainInfo, preset: str) -> tuple[str, dict[str, Any], str]:
    """Name of the preset, its values, and where they were read."""
    known = {**_yaml_files(_folder(OUR_PRESETS)), **_yaml_files(_folder(domain.configs) / "methods")}
    name = plugins.known_as(preset, [*known, *plugins.names("methods")])
    if not _is_path(preset) and name not in known and name in plugins.names("methods"):
        return name, {"method": name}, f"method {name}"
    if not _is_path(preset) and name not in known:
        everything = preset_names(domain)
        near = plugins.did_you_mean(name, everything)
        raise UsageError(f"there is no method preset {preset!r}{near}; there are: {', '.join(everything)}")
    file = _find(preset, known, "method preset")
    return _stem(file), _read_extended(file, known, "method preset", ()), str(file)


def _read_extended(
    file: Traversable, known: Mapping[str, Traversable], kind: str, below: tuple[str, ...]
) -> dict[str, Any]:
    """The values of a file on top of those of the file it extends."""
    if str(file) in below:
        raise BadInput(
            str(file), [f"extends: a circle: {' -> '.join(Path(name).stem for name in (*below, str(file)))}"]
        )
    values = _read_yaml(file)
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise BadInput(str(file), [f"extends: got {parent!r}, expected the name of or a path to one {kind}"])
    try:
        parent_file = _find(parent, known, kind, relative_to=file)
    except UsageError as error:
        raise BadInput(str(file), [f"extends: {error}"]) from error
    base = _read_extended(parent_file, known, kind, (*below, str(file)))
    if _preset(values) not in (None, _preset(base)):
        base.pop("method", None)  # settings of another preset mean nothing to the new one
    base.pop("name", None)
    return merge(base, values)


def _preset(values: Mapping[str, Any]) -> Any:
    method = values.get("method")
    return method.get("preset") if isinstance(method, Mapping) else method


def _find(
    name: str, known: Mapping[str, Traversable], kind: str, relative_to: Traversable | None = None
) -> Traversable:
    if _is_path(name):
        path = Path(name)
        if relative_to is not None and not path.is_absolute():
            path = Path(str(relative_to)).parent / path
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        return path
    key = plugins.known_as(name, known)
    if key not in known:
        near = plugins.did_you_mean(key, known)
        raise UsageError(f"there is no {kind} {name!r}{near}; there are: {', '.join(sorted(known)) or 'none'}")
    return known[key]


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name or "\\" in name


def _folder(reference: str) -> Traversable:
    """The folder behind ``"package:folder"``."""
    package, _, folder = reference.partition(":")
    return files(package) / folder if folder else files(package)


def _yaml_files(folder: Traversable) -> dict[str, Traversable]:
    if not folder.is_dir():
        return {}
    return {_stem(file): file for file in folder.iterdir() if file.name.endswith(".yaml")}


def _stem(file: Traversable) -> str:
    """A file's name without its ending, with underscores."""
    return Path(file.name).stem.replace("-", "_")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader that refuses a key given twice (YAML itself would silently take the last)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int)) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key if isinstance(key, (str, int)) else id(key_node))
        return super().construct_mapping(node, deep)


def _read_yaml(file: Traversable) -> dict[str, Any]:
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as error:
        raise BadInput(str(file), [f"not YAML: {first_line(error)}"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(str(file), [f"cannot be read: {error}"]) from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise BadInput(str(file), ["expected keys with values"])
    return values
