"""The Homebrew formula: the sources that the lock file names, built into an environment of its own."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from bundle import UNUSED

if TYPE_CHECKING:
    from pathlib import Path

FROM_HOMEBREW = frozenset({"cryptography", "cffi", "pycparser"})
"""Homebrew has these built: cryptography alone would want a Rust compiler."""

LEFT_OUT = frozenset({*UNUSED, "isal"})
"""isal would want an assembler and autotools; without it zlib does the same, more slowly."""

FORMULAE = ("cffi", "cryptography", "openssl@3", "pycparser", "python@3.13", "sqlite")
"""What Homebrew brings, because the formula or one that it depends on says so; of which version, it decides.

Its SQLite is a current one: python@3.13 is built with it.
"""

_TEMPLATE = """\
class Waystation < Formula
  include Language::Python::Virtualenv

  desc "Local collector daemon that keeps events on disk and forwards them upstream"
  homepage "https://github.com/waystation/waystation"
  url "https://files.pythonhosted.org/packages/source/w/waystation/waystation-@VERSION@.tar.gz"
  sha256 "@SHA256@"
  license "Apache-2.0"

  depends_on "cryptography"
  depends_on "python@3.13"

@RESOURCES@
  def install
    virtualenv_install_with_resources
  end

  def caveats
    <<~EOS
      `waystation service install` also hands the sockets to launchd, so that no client is
      refused while the daemon restarts; use either that or `brew services`.
    EOS
  end

  service do
    run [opt_bin/"waystation", "run"]
    keep_alive successful_exit: false
    log_path var/"log/waystation.log"
    error_log_path var/"log/waystation.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/waystation --version")
    system bin/"waystation", "config", "check"
  end
end
"""


def locked(lock: Path) -> list[tuple[str, str, str, str]]:
    """What the daemon depends on: name, version, url and sha256 of each source, by name.

    Args:
        lock: uv's.
    """
    packages = {
        package["name"]: package for package in tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    }
    wanted, queue = set(), [packages["waystation"].get("dependencies", ())]
    while queue:
        for needed in queue.pop():
            name, package = needed["name"], packages[needed["name"]]
            if name in FROM_HOMEBREW | LEFT_OUT or "win32" in needed.get("marker", ""):
                continue
            if name not in wanted:
                queue.append(package.get("dependencies", ()))
            wanted.add(name)
            queue += [package["optional-dependencies"][extra] for extra in needed.get("extra", ())]
    sources = [(name, packages[name]["version"], packages[name].get("sdist")) for name in sorted(wanted)]
    return [
        (name, version, source["url"], source["hash"].removeprefix("sha256:"))
        for name, version, source in sources
        if source
    ]


def formula(resources: list[tuple[str, str, str, str]], *, version: str, sha256: str) -> str:
    """The formula's text.

    Args:
        resources: as `locked` gives them.
        version: of the release.
        sha256: of its source archive.
    """
    blocks = [
        f'  resource "{name}" do\n    url "{url}"\n    sha256 "{digest}"\n  end\n'
        for name, _, url, digest in resources
    ]
    text = _TEMPLATE.replace("@VERSION@", version).replace("@SHA256@", sha256)
    return text.replace("@RESOURCES@", "\n".join(blocks))
