"""Bills of materials, held against CycloneDX's own schema."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema_rs

_SCHEMAS = files("cyclonedx") / "schema/_res"


def faults(bill: str) -> list[str]:
    """What the schema of CycloneDX 1.6 has against a bill."""
    names = [f"{name}.SNAPSHOT.schema.json" for name in ("bom-1.6", "spdx", "jsf-0.82")]
    about = [json.loads((_SCHEMAS / name).read_text("utf-8")) for name in names]
    # By the names that they call each other, not by those that they have.
    registry = jsonschema_rs.Registry(
        [(f"http://cyclonedx.org/schema/{name}", schema) for name, schema in zip(names, about, strict=True)]
    )
    whole = about[0]
    validator = jsonschema_rs.validator_for(whole, registry=registry, validate_formats=True)
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(json.loads(bill))]
