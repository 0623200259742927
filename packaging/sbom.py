"""Bills of materials, CycloneDX 1.6 in JSON: what is in a package, of which version, under which licence."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from importlib.metadata import PathDistribution
from typing import TYPE_CHECKING

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from interpreter import Part


def of_tree(tree: Path, parts: Iterable[Part], *, version: str, mtime: int) -> str:
    """What the .deb and the .rpm hold.

    Args:
        tree: as `bundle` has made it.
        parts: where its interpreter comes from.
        version: of the package.
        mtime: seconds since 1970.
    """
    found = [
        _distribution(path) for path in sorted((tree / "lib/python3.11/dist-packages").glob("*.dist-info"))
    ]
    found += [
        Component(
            name=part.name,
            version=part.version,
            type=ComponentType.LIBRARY,
            bom_ref=f"deb/{part.name}",
            purl=PackageURL("deb", "debian", part.name, part.version, {"arch": "amd64"}),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part.sha256)],
        )
        for part in parts
    ]
    return _written(
        [component for component in found if component.name != "waystation"], version=version, mtime=mtime
    )


def of_names(locked: Iterable[tuple[str, str, str]], *, version: str, mtime: int) -> str:
    """What the Homebrew formula installs.

    Args:
        locked: name, version and sha256 of each source.
        version: of the formula.
        mtime: seconds since 1970.
    """
    found = [
        Component(
            name=name,
            version=number,
            type=ComponentType.LIBRARY,
            bom_ref=f"pypi/{name}",
            purl=PackageURL("pypi", None, name, number),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
        )
        for name, number, sha256 in locked
    ]
    return _written(found, version=version, mtime=mtime)


def _distribution(path: Path) -> Component:
    about = PathDistribution(path).metadata
    name, version = about["Name"], about["Version"]
    expression = about["License-Expression"]
    short = about["License"]
    licences: list[LicenseExpression | DisjunctiveLicense] = []
    if expression:
        licences.append(LicenseExpression(expression))
    elif short and "\n" not in short:
        licences.append(DisjunctiveLicense(name=short))
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref=f"pypi/{name.lower()}",
        purl=PackageURL("pypi", None, name.lower(), version),
        licenses=licences,
    )


def _written(components: list[Component], *, version: str, mtime: int) -> str:
    own = Component(
        name="waystation",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref="waystation",
        licenses=[LicenseExpression("Apache-2.0")],
    )
    listed = " ".join(f"{component.name}={component.version}" for component in components)
    bom = Bom(
        components=components,
        # Of the content, so that the same content has the same number.
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"waystation {version} {listed}"),
    )
    bom.metadata.component = own
    bom.metadata.timestamp = datetime.fromtimestamp(mtime, UTC)
    bom.metadata.tools.components.clear()
    bom.register_dependency(own, components)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"
