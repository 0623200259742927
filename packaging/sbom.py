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
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from interpreter import Part


HELD_BY = {
    "cpython": "deb/python3.11-minimal",
    "libmpdec": "deb/libpython3.11-stdlib",
    "sqlite": "pypi/pysqlite3",
    "openssl": "pypi/cryptography",
    "isa-l": "pypi/isal",
    "libffi": "pypi/cffi",
    "llhttp": "pypi/httptools",
}
"""C libraries that are within something else, which their makers do not list."""

_CPE = {
    "cpython": "cpe:2.3:a:python:python:{}:*:*:*:*:*:*:*",
    "sqlite": "cpe:2.3:a:sqlite:sqlite:{}:*:*:*:*:*:*:*",
    "openssl": "cpe:2.3:a:openssl:openssl:{}:*:*:*:*:*:*:*",
}
"""By which name the list of known vulnerabilities (NVD) has them."""

_WHAT = {
    "libbz2-1.0": "bzip2", "libexpat1": "Expat", "libffi8": "libffi", "liblzma5": "XZ Utils",
    "libssl3": "OpenSSL", "libuuid1": "util-linux", "zlib1g": "zlib",
}  # fmt: skip


def of_tree(
    tree: Path, parts: Iterable[Part], libraries: Mapping[str, str], *, version: str, mtime: int
) -> str:
    """What the .deb and the .rpm hold.

    Args:
        tree: as `bundle` has made it.
        parts: where its interpreter comes from.
        libraries: versions of those that other parts hold within them, by name; empty where unknown.
        version: of the package.
        mtime: seconds since 1970.
    """
    modules = tree / "lib/python3.11/dist-packages"
    found = [_distribution(path) for path in sorted(modules.glob("*.dist-info"))]
    found = [component for component in found if component.name != "waystation"]
    found += [
        Component(
            name=part.name,
            version=part.version,
            description=_WHAT.get(part.name, "CPython"),
            type=ComponentType.LIBRARY,
            bom_ref=f"deb/{part.name}",
            # Debian 12 is what has Python 3.11.
            purl=PackageURL(
                "deb", "debian", part.name, part.version, {"arch": "amd64", "distro": "debian-12"}
            ),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part.sha256)],
        )
        for part in parts
    ]
    held = {name: _library(name, number) for name, number in sorted(libraries.items())}
    within = {HELD_BY[name]: component for name, component in held.items()}
    return _written([*found, *held.values()], within, version=version, mtime=mtime)


def of_names(
    locked: Iterable[tuple[str, str, str]],
    formulae: Iterable[str],
    *,
    version: str,
    sha256: str,
    mtime: int,
) -> str:
    """What the Homebrew formula installs.

    Args:
        locked: name, version and sha256 of each source.
        formulae: what comes from Homebrew itself, in a version that is not known here.
        version: of the formula.
        sha256: of the daemon's own source.
        mtime: seconds since 1970.
    """
    found = [
        Component(
            name=name,
            version=number,
            type=ComponentType.LIBRARY,
            bom_ref=f"pypi/{name}",
            purl=PackageURL("pypi", None, name, number),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        )
        for name, number, digest in locked
    ]
    found += [
        Component(
            name=name,
            description="Homebrew's, in the version that it has when this is installed",
            type=ComponentType.LIBRARY,
            bom_ref=f"brew/{name}",
            purl=PackageURL("brew", None, name),
        )
        for name in formulae
    ]
    return _written(found, {}, version=version, mtime=mtime, sha256=sha256)


def _library(name: str, version: str) -> Component:
    return Component(
        name=name,
        version=version or None,
        type=ComponentType.PLATFORM if name == "cpython" else ComponentType.LIBRARY,
        bom_ref=f"within/{name}",
        description=f"within {HELD_BY[name].partition('/')[2]}",
        purl=PackageURL("generic", None, name, version or None),
        cpe=_CPE[name].format(version) if name in _CPE and version else None,
    )


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


def _written(
    components: list[Component],
    within: Mapping[str, Component],
    *,
    version: str,
    mtime: int,
    sha256: str = "",
) -> str:
    own = Component(
        name="waystation",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref="waystation",
        purl=PackageURL("pypi", None, "waystation", version) if sha256 else None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else [],
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
    for component in components:
        if (held := within.get(str(component.bom_ref))) is not None:
            bom.register_dependency(component, [held])
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"
