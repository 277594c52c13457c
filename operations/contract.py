"""From the domain named in a bundle to its decision contract, and the contract as a document for the bundle."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import ValidationError

from interlock.core.decision import DecisionContract
from interlock.core.errors import BadInput
from interlock.core.request import schema_fields, shown
from interlock.core.scenario import Scenario

STATUSES = ("released", "refused", "invalid")

ENVELOPE: dict[str, Any] = {
    "schema_version": {"type": "integer", "description": "version of the domain's request and answer"},
    "domain": {"type": "string"},
    "status": {
        "enum": list(STATUSES),
        "description": "released: carry it out; refused: no feasible decision; invalid: the request is wrong",
    },
    "source": {
        "type": "string",
        "pattern": "^(policy|projection|fallback:.+|none)$",
        "description": "who decided: the policy, its best feasible action, a fallback rule by name, or nobody",
    },
    "reason": {"type": ["string", "null"], "description": "why it was not the policy's own proposal that was released"},
    "problems": {"type": "array", "items": {"type": "string"}, "description": "everything wrong with the request"},
    "proposal": {"description": "what the policy proposed before any check; null if it proposed nothing"},
    "action": {"description": "the released action in the domain's own numbering; null if none was released"},
    "latency_ms": {"type": "number", "minimum": 0, "unit": "ms", "description": "from raw request to answer"},
    "policy_hash": {"type": "string", "description": "identifies the policy and the scenario it was made for"},
}
"""What every answer holds, whatever the domain."""


def load_contract(
    domain: Any, scenario: Any, assets: Mapping[str, bytes] | None = None
) -> tuple[Scenario, DecisionContract]:
    """The checked scenario, and the installed domain's decision contract for it.

    Args:
        domain: its name.
        scenario: as in a scenario file.
        assets: what the contract's own ``assets`` gave when the bundle was written.

    Raises:
        BadInput: the domain is not installed or cannot be loaded, the scenario does not fit its schema, or the assets
            are not sound.
    """
    found = sorted(entry_points(group="interlock.domains"), key=_ours)
    installed = {entry.name: entry for entry in found}  # ours last, so that no plug-in takes its place
    if not isinstance(domain, str) or domain not in installed:
        known = ", ".join(sorted(installed)) or "none"
        raise BadInput("manifest.json", [f"domain: {shown(domain)} is not installed; installed: {known}"])
    try:
        info = installed[domain].load()
        schema, build = _resolve(info.schema), _resolve(info.decision)
    except Exception as error:  # a plug-in may fail in any way
        raise BadInput("manifest.json", [f"domain: {domain} cannot be loaded: {in_words(error)}"]) from error
    try:
        checked: Scenario = schema.model_validate(scenario)
    except ValidationError as error:
        problems = [f"scenario.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise BadInput("manifest.json", problems) from error
    return checked, build(checked, assets) if assets else build(checked)


def in_words(error: BaseException) -> str:
    """Type and message of an exception, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def contract_document(contract: DecisionContract) -> dict[str, Any]:
    """Request and answer as JSON Schema and as fields with units and ranges, and the names of the fallback rules."""
    domain_part = contract.answer_schema()
    answer = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "answer",
        "type": "object",
        "additionalProperties": False,
        "required": list(ENVELOPE),
        "properties": {**ENVELOPE, **domain_part["properties"]},
    }
    envelope_fields = schema_fields({"properties": ENVELOPE, "required": list(ENVELOPE)})
    return {
        "domain": contract.domain,
        "schema_version": contract.schema_version,
        "request": contract.request_schema(),
        "answer": answer,
        "request_fields": [asdict(field) for field in contract.request_fields()],
        "answer_fields": [asdict(field) for field in (*envelope_fields, *contract.answer_fields())],
        "fallbacks": list(contract.fallbacks()),
    }


def _resolve(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


def _ours(entry: EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == "interlock"
