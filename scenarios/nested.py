"""Nested mappings as they come from YAML files and from ``key=value`` options: merged, and changed at dotted paths."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from interlock.core.errors import UsageError


def parse_settings(settings: Sequence[str], option: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Dotted paths and values of ``key=value`` options, the values read as YAML.

    Returns:
        ``(values, texts)``: dotted path -> parsed value, and dotted path -> the text as typed.

    Raises:
        UsageError: an option is not ``key=value`` or its value is not YAML.
    """
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        path = ".".join(part.strip().replace("-", "_") for part in key.split("."))
        if not equals or not all(path.split(".")):
            raise UsageError(f"{option} {setting!r}: expected key=value, for example {option} evaluation.num_envs=64")
        try:
            values[path] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"{option} {setting!r}: the value is not YAML ({first_line(error)})") from error
        texts[path] = text
    return values, texts


def assign(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested mappings with values set at dotted paths; missing mappings on the way are made."""
    result = dict(values)
    for path, value in changes.items():
        head, _, rest = path.partition(".")
        inner = result.get(head)
        result[head] = assign(inner if isinstance(inner, Mapping) else {}, {rest: value}) if rest else value
    return result


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings merged, ``changes`` winning; lists and scalars are replaced as a whole."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def first_line(error: Exception) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())
