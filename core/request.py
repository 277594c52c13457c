"""Reading raw requests: every decision contract checks fields, numbers and names the same way. Torch-free.

Each function appends to ``problems`` one sentence per thing that is wrong and goes on, so that a request is told all of
its problems at once. Values come from outside: nothing here trusts their type, size, depth or text.
"""

import difflib
import math
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from interlock.core.problem import Field

MAX_UNKNOWN = 20
"""Most unknown fields of one object that are named; the rest are counted."""

_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def shown(value: Any) -> str:
    """A value as it may appear in a message: short, whatever its depth and size."""
    try:
        return _SHORT.repr(value)
    except Exception:  # a value's own __repr__, or an integer of thousands of digits
        return f"<{type(value).__name__}>"


def unknown_fields(problems: list[str], path: str, value: Mapping[Any, Any], known: Iterable[str]) -> None:
    """Report every key that is not known, with the nearest known one."""
    names = list(known)
    strange = [key for key in value if not (isinstance(key, str) and key in names)]
    for key in strange[:MAX_UNKNOWN]:
        text = key[:60] if isinstance(key, str) else shown(key)
        close = difflib.get_close_matches(text, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}"
        problems.append(f"{path}{text}: unknown field; {hint}")
    if len(strange) > MAX_UNKNOWN:
        problems.append(f"{path or 'request'}: {len(strange) - MAX_UNKNOWN} more unknown fields")


def number(
    problems: list[str],
    path: str,
    value: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    unit: str = "",
) -> float | None:
    """A finite number, ``low <= value <= high`` and ``value > above`` where given; ``None`` if it is not."""
    expected = "a number" + _range(low, high, above) + (f" [{unit}]" if unit else "")
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        problems.append(f"{path}: got {shown(value)}, expected {expected}")
        return None
    outside = (low is not None and value < low) or (high is not None and value > high)
    if outside or (above is not None and value <= above) or not _finite(value):
        problems.append(f"{path}: got {shown(value)}, expected {expected}")
        return None
    return float(value)


def integer(
    problems: list[str], path: str, value: Any, *, low: int | None = None, high: int | None = None, unit: str = ""
) -> int | None:
    """A whole number in ``[low, high]``, also when written as ``3.0``; ``None`` if it is not."""
    whole = as_integer(value)
    if whole is None or (low is not None and whole < low) or (high is not None and whole > high):
        expected = "a whole number" + _range(low, high, None) + (f" [{unit}]" if unit else "")
        problems.append(f"{path}: got {shown(value)}, expected {expected}")
        return None
    return whole


def as_integer(value: Any) -> int | None:
    """The whole number that a value stands for, or ``None``; truth values are not numbers."""
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return int(value)
    return None


def schema_fields(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    """The leaves of a JSON Schema object as fields; units stand in the annotation ``unit``.

    Paths are dotted, ``[]`` marks the elements of a list of objects; a list of numbers, or of such lists, is one field
    with a shape.
    """
    return tuple(_leaves(schema, "", required=True))


def _leaves(schema: Mapping[str, Any], prefix: str, *, required: bool) -> Iterable[Field]:
    for name, node in schema["properties"].items():
        needed = required and name in schema.get("required", ())
        shape: list[int] = []
        leaf = node
        while leaf.get("type") == "array" and "properties" not in leaf["items"]:
            shape.append(leaf["minItems"] if leaf.get("minItems") == leaf.get("maxItems", -1) else -1)
            leaf = leaf["items"]
        if "properties" in leaf:
            yield from _leaves(leaf, f"{prefix}{name}.", required=needed)
        elif leaf.get("type") == "array":
            yield from _leaves(leaf["items"], f"{prefix}{name}[].", required=needed)
        else:
            fixed = leaf.get("const") if isinstance(leaf.get("const"), (int, float)) else None
            yield Field(
                name=f"{prefix}{name}",
                unit=leaf.get("unit", ""),
                shape=tuple(shape),
                low=leaf.get("minimum", leaf.get("exclusiveMinimum", fixed)),
                high=leaf.get("maximum", fixed),
                describe=node.get("description", ""),
                required=needed,
            )


def _range(low: float | None, high: float | None, above: float | None) -> str:
    if above is not None:
        return f" above {above:g}" + (f" and at most {high:g}" if high is not None else "")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    return f" of at least {low:g}" if low is not None else ""


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False
