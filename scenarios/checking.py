"""Checking values against a pydantic schema, with problems in words that a user can act on."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from interlock.core.errors import BadInput
from interlock.scenarios.nested import assign

Model = TypeVar("Model", bound=BaseModel)


def validate(
    model: type[Model],
    values: Mapping[str, Any],
    *,
    source: str,
    texts: Mapping[str, str] | None = None,
    option: str = "--set",
) -> Model:
    """A checked instance of the schema.

    Args:
        model: the schema.
        values: what was read.
        source: where it was read, for the message.
        texts: dotted path -> text as typed on the command line. Where the schema wants text, this is taken instead of
            what YAML made of it (``--set title=2026``), and problems name the option as their source.
        option: that the texts were typed with.

    Raises:
        BadInput: listing every problem with its dotted field, the value found and what was expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = error
    wanted = {".".join(map(str, e["loc"])) for e in wrong.errors() if e["type"] == "string_type"} & set(texts or {})
    if texts and wanted:
        as_text = assign(values, {path: texts[path] for path in wanted})
        return validate(model, as_text, source=source, texts=texts, option=option)
    problems = dict(_problems(model, wrong))
    typed = {path for path in problems if any(f"{path}.".startswith(f"{text}.") for text in texts or {})}
    if len(typed) == len(problems):
        raise BadInput(option, list(problems.values())) from wrong
    told = [f"{option} {problem}" if path in typed else problem for path, problem in problems.items()]
    raise BadInput(source, told) from wrong


def _problems(model: type[BaseModel], error: ValidationError) -> Iterator[tuple[str, str]]:
    """Path and one sentence per wrong field; the alternatives of a union are joined into one sentence."""
    grouped: dict[str, list[tuple[dict[str, Any], _Place]]] = {}
    for problem in error.errors():
        place = _locate(model, problem["loc"], unknown_key=problem["type"] == "extra_forbidden")
        grouped.setdefault(place.path, []).append((dict(problem), place))
    for path, found in grouped.items():
        rules = [entry for entry in found if entry[0]["type"] == "value_error"]
        inside = path and any(other.startswith(f"{path}.") for other in grouped)
        if rules or not inside:
            yield path, _sentence(path, rules or found)


def _sentence(path: str, found: list[tuple[dict[str, Any], _Place]]) -> str:
    problem, place = found[0]
    kind = problem["type"]
    if kind == "extra_forbidden":
        return _unknown_key(path, place)
    if kind == "missing":
        return f"{path}: missing; {place.describe}" if place.describe else f"{path}: missing"
    if kind == "value_error":
        reason = str(problem["ctx"]["error"])
        return f"{path}: {reason}" if path else reason
    expected = " or ".join(dict.fromkeys(_expected(p) for p, _ in found))
    described = f" ({place.describe})" if place.describe else ""
    return f"{path}: got {problem['input']!r}, expected {expected}{_near_literal(found)}{described}"


def _expected(problem: Mapping[str, Any]) -> str:
    if problem["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return "a mapping"
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        discriminator = problem["ctx"]["discriminator"].strip("'")
        tags = problem["ctx"].get("expected_tags")
        return f"{discriminator} to be one of {tags}" if tags else f"a mapping with {discriminator}"
    if problem["type"] in ("too_short", "too_long"):
        ctx = problem["ctx"]
        limit = f"at least {ctx['min_length']}" if "min_length" in ctx else f"at most {ctx['max_length']}"
        return f"{limit} entries, not {ctx['actual_length']}"
    message = str(problem["msg"]).removeprefix("Input should be ")
    if message.startswith(("greater", "less")):
        return f"a value {message}"
    return message[:1].lower() + message[1:]


def _unknown_key(path: str, place: _Place) -> str:
    key = path.rpartition(".")[2]
    known = sorted({name for parent in place.parents for name in parent.model_fields})
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"{path}: unknown key, did you mean {close[0]!r}?"
    return f"{path}: unknown key; there are: {', '.join(known)}"


def _near_literal(found: list[tuple[dict[str, Any], _Place]]) -> str:
    for problem, _ in found:
        if problem["type"] == "literal_error" and isinstance(problem["input"], str):
            allowed = [part.strip().strip("'") for part in problem["ctx"]["expected"].replace(" or ", ",").split(",")]
            close = difflib.get_close_matches(problem["input"], allowed, n=1, cutoff=0.6)
            if close:
                return f", did you mean {close[0]!r}?"
    return ""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a schema a problem is: the dotted path a user typed, the models around it, what the field means."""

    path: str
    parents: list[type[BaseModel]]
    describe: str = ""


def _locate(model: type[BaseModel], location: tuple[int | str, ...], *, unknown_key: bool) -> _Place:
    """Follow pydantic's location through the schema, leaving out the tags it adds for the members of a union."""
    parts: list[str] = []
    parents: list[type[BaseModel]] = [model]
    here: Any = model
    describe = ""
    for index, part in enumerate(location):
        models = list(_models(here))
        field = _field(models, part)
        if unknown_key and index == len(location) - 1:
            return _Place(".".join([*parts, str(part)]), models)
        if field is not None:
            parts.append(str(part))
            parents, here, describe = models, field.annotation, field.description or ""
        elif tagged := [member for member in models if part in _tags(member)]:
            here = tagged[0]
        elif isinstance(part, int) or _is_mapping(here):
            parts.append(str(part))
            here = _inside(here)
    return _Place(".".join(parts), parents, describe)


def _field(models: list[type[BaseModel]], part: int | str) -> FieldInfo | None:
    return next((member.model_fields[part] for member in models if part in member.model_fields), None)


def _tags(model: type[BaseModel]) -> set[Any]:
    """Values by which a union can tell the model."""
    fields = model.model_fields.values()
    return {
        value for field in fields if get_origin(field.annotation) is Literal for value in get_args(field.annotation)
    }


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The pydantic models that a value of this type may be."""
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    elif _is_union(annotation):
        for member in get_args(annotation):
            yield from _models(member)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (types.UnionType, Union, Annotated)


def _is_mapping(annotation: Any) -> bool:
    return any(get_origin(member) is dict for member in (annotation, *get_args(annotation)))


def _inside(annotation: Any) -> Any:
    """The type of the elements of a list, tuple or mapping, as far as it can be told."""
    arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    return arguments[-1] if arguments else annotation
