"""The packages on a machine that has neither Python nor a network, under its own systemd."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from fakes.cut_filesystem import CutFilesystem
from fakes.cyclonedx import faults
from fakes.daemon import unbalanced, until
from fakes.delivery import delivery_faults, in_files
from fakes.load import App, drawn_seed, seeded
from fakes.machine import Impossible, Machine, tree
from fakes.mount_namespace import Impossible as NoCut
from fakes.packages import (
    EVENT,
    SOCKET,
    UNITS,
    Deb,
    Rpm,
    build,
    configure,
    main_pid,
    send,
    settled,
    states,
    status,
)

if TYPE_CHECKING:
    from random import Random  # noqa: TID251 - seeded

pytestmark = pytest.mark.system

UPGRADE_CUTS = 3
FIRST_SECONDS = 4.5
"""Within which a first installation is cut; it takes about as long."""

DOWN = """
[[upstream]]
name = "down"
kind = "samsara"
url = "http://127.0.0.1:9"
signing = "none"
"""


@pytest.fixture
def chance() -> Random:
    return seeded(drawn_seed("CUT_SEED"))


@pytest.fixture
def installed(machine: Machine) -> Machine:
    """With the first release."""
    machine.run(*Deb.install(1))
    return machine


def test_they_are_built_again_byte_by_byte(packages, tmp_path):
    build(tmp_path, 1, 2)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_bytes() == (packages / path.name).read_bytes(), path.name


def test_each_has_a_bill_of_what_it_holds(packages):
    for name in (Deb.file(1), Rpm.file(1), "waystation.rb"):
        text = (packages / f"{name}.cdx.json").read_text("utf-8")
        assert faults(text) == []
        bill = json.loads(text)
        assert bill["metadata"]["component"]["name"] == "waystation"
        held = {component["name"]: component for component in bill["components"]}
        assert held["trio"]["purl"].startswith("pkg:pypi/trio@")
        assert ("libssl3" in held) == (name != "waystation.rb")
        assert "sqlite" in held
        assert "pytest" not in held


def test_the_bill_has_the_libraries_within_others_with_their_versions(packages):
    bill = json.loads((packages / f"{Deb.file(1)}.cdx.json").read_text("utf-8"))
    held = {component["name"]: component for component in bill["components"]}
    assert tuple(map(int, held["sqlite"]["version"].split("."))) >= (3, 51, 3)
    assert held["cpython"]["version"].startswith("3.11.")
    for name in ("openssl", "isa-l", "libmpdec", "libexpat1", "zlib1g", "libffi8", "libbz2-1.0", "liblzma5"):
        assert held[name]["version"], name
    within = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    assert within["pypi/pysqlite3"] == ["within/sqlite"]
    assert within["pypi/cryptography"] == ["within/openssl"]


def test_the_formula_names_the_source_that_was_built(packages):
    (source,) = packages.glob("waystation-*.tar.gz")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert digest in (packages / "waystation.rb").read_text("utf-8")
    assert digest in (packages / "waystation.rb.cdx.json").read_text("utf-8")


def test_once_installed_it_runs_and_says_what_to_do_next(installed):
    assert states(installed) == dict.fromkeys(UNITS, ("active", "enabled"))
    installed.run("useradd", "--create-home", "--groups", "waystation", "app")
    assert send(installed, user="app") == "1 event accepted\n"
    told = installed.run("waystation", "status")
    assert "next: add an upstream to /etc/waystation/config.toml" in told
    assert "sudo waystation status" in installed.run("waystation", "status", user="app", check=False)
    assert settled(installed) == ["sold"]
    probe = "import sqlite3; print(sqlite3.sqlite_version)"
    version = installed.run("/opt/waystation/current/bin/python3.11", "-I", "-c", probe)
    assert tuple(map(int, version.split("."))) >= (3, 51, 3)
    bill = json.loads(installed.run("cat", "/usr/share/doc/waystation/sbom.cdx.json"))
    assert {"trio", "cryptography", "libssl3"} <= {component["name"] for component in bill["components"]}


def test_without_a_network_apt_wants_nothing_that_its_lists_only_promise(machine):
    shop = machine.inside("/srv/shop")
    shop.mkdir(parents=True)
    promised = "Package: {}\nVersion: 1\nArchitecture: all\nFilename: ./{}.deb\nSize: 1\nSHA256: {:064}\n"
    lines = [promised.format(name, name, 0) for name in ("ca-certificates", "python3", "python3.11")]
    (shop / "Packages").write_text("\n".join(lines), encoding="utf-8")
    machine.inside("/etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/shop ./\n")
    machine.run("apt-get", "update")
    assert "Candidate: 1\n" in machine.run("apt-cache", "policy", "ca-certificates")
    machine.run(*Deb.install(1))
    assert states(machine) == dict.fromkeys(UNITS, ("active", "enabled"))


def test_it_reloads_and_tells_its_backlog(installed):
    configure(installed, DOWN)
    send(installed)
    before = main_pid(installed)
    installed.run("systemctl", "reload", "waystation")
    until(lambda: installed.shows("waystation", "ActiveState") == "active", "it has reloaded")
    assert main_pid(installed) == before

    def told() -> bool:
        line = installed.shows("waystation", "StatusText")
        return line.startswith("1 event (") and "down/samsara retrying" in line

    until(told, "the backlog is told, and what keeps it", within=90.0)


def test_a_secret_comes_as_a_credential(installed):
    key = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
    secret = installed.inside("/etc/waystation/credentials/product.secret")
    secret.write_text("geheim\n")
    secret.chmod(0o600)
    configure(installed, f'\n[[product]]\nkey = "{key}"\nsecret_credential = "waystation_product.secret"\n')
    assert send(installed) == "1 event accepted\n"
    assert installed.shows("waystation", "NRestarts") == "0"


def test_purging_leaves_nothing(installed):
    assert send(installed) == "1 event accepted\n"
    installed.run("apt-get", "purge", "--quiet", "--yes", "waystation")
    for path in ("/var/lib/waystation", "/etc/waystation", "/opt/waystation", "/run/waystation"):
        assert not installed.inside(path).exists(), path
    for unit in UNITS:
        assert installed.run("find", "/etc/systemd", "-name", unit) == ""


@pytest.fixture
def unpackaged(installed) -> Machine:
    """The same files in another place, as pip would put them; `/srv/w/bin/waystation`, and no package."""
    installed.run("cp", "--archive", "/opt/waystation/package/.", "/srv/w")
    installed.run("apt-get", "purge", "--quiet", "--yes", "waystation")
    return installed


COMMAND = "/srv/w/bin/waystation"


def test_service_install_for_the_machine(unpackaged):
    first = unpackaged.run(COMMAND, "service", "install")
    assert "write /etc/systemd/system/waystation.service" in first
    assert unpackaged.run(COMMAND, "send", stdin=EVENT) == "1 event accepted\n"
    before = main_pid(unpackaged)
    assert "write" not in unpackaged.run(COMMAND, "service", "install")
    assert main_pid(unpackaged) == before
    assert "active (running)" in unpackaged.run(COMMAND, "service", "status")
    until(lambda: "event=ready" in unpackaged.run(COMMAND, "service", "logs"), "its log is shown")
    unpackaged.run(COMMAND, "service", "stop")
    assert "no daemon" in unpackaged.run(COMMAND, "send", stdin=EVENT, check=False)
    unpackaged.run(COMMAND, "service", "start")
    assert unpackaged.run(COMMAND, "send", stdin=EVENT) == "1 event accepted\n"
    told = unpackaged.run(COMMAND, "service", "uninstall")
    assert "the events are kept: /var/lib/waystation" in told
    assert unpackaged.shows("waystation.service", "LoadState") == "not-found"
    assert unpackaged.inside("/var/lib/waystation/spool.db").exists()
    unpackaged.run(COMMAND, "service", "uninstall", "--purge")
    assert not unpackaged.inside("/var/lib/waystation").exists()


def test_service_install_for_a_user(unpackaged):
    unpackaged.run("useradd", "--create-home", "--uid", "1234", "me")
    # The tree has no PAM module that would say it.
    override = unpackaged.inside("/etc/systemd/system/user@.service.d/runtime.conf")
    override.parent.mkdir()
    override.write_text("[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n")
    unpackaged.run("systemctl", "daemon-reload")
    unpackaged.run("loginctl", "enable-linger", "me")
    until(lambda: unpackaged.inside("/run/user/1234/systemd/private").exists(), "the user's manager runs")

    def mine(*arguments: str, stdin: str = "") -> str:
        return unpackaged.run(
            "env", "XDG_RUNTIME_DIR=/run/user/1234", COMMAND, *arguments, user="me", stdin=stdin
        )

    assert "write /home/me/.config/systemd/user/waystation.service" in mine("service", "install")
    assert mine("send", stdin=EVENT) == "1 event accepted\n"
    assert "active (running)" in mine("service", "status")
    assert "write" not in mine("service", "install")
    assert "the events are kept: /home/me/.local/state/waystation" in mine("service", "uninstall")
    assert not unpackaged.inside("/run/user/1234/waystation/waystation.sock").exists()
    assert unpackaged.inside("/home/me/.local/state/waystation/spool.db").exists()


def install(release: int) -> tuple[str, ...]:
    return ("dpkg", "--install", f"/packages/{Deb.file(release)}")


def finish(machine: Machine, release: int) -> None:
    """End an installation that was cut.

    Cut while it unpacked, dpkg wants the package once more; later it goes on by itself.
    """
    machine.run("dpkg", "--configure", "--pending", check=False)
    state = ("dpkg-query", "--show", "--showformat", "${Status}", "waystation")
    if machine.run(*state) != "install ok installed":
        machine.run(*install(release))
    assert machine.run(*state) == "install ok installed"


def test_power_cuts_in_the_midst_of_upgrades_leave_what_boots_and_lose_nothing(packages, tmp_path, chance):
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(CutFilesystem(tmp_path, megabytes=2048))
            root = disk.mount_point / "root"
            subprocess.run([*disk.enter, "cp", "--archive", str(tree()), str(root)], check=True)
            subprocess.run([*disk.enter, "sync", "--file-system", str(root)], check=True)
            binds = [f"--bind-ro={packages}:/packages"]
            machine = Machine(tmp_path, root, binds=binds, enter=disk.enter, keeps=True)
            stack.enter_context(machine)
        except (Impossible, NoCut) as error:
            pytest.skip(str(error))

        def power_goes(upgrade: subprocess.Popen[str]) -> None:
            disk.cut()
            machine.cut()
            upgrade.kill()  # what it began there is its child: unreaped, that would hold the disk
            upgrade.communicate()
            disk.power_up()
            machine.boot()

        # A first installation that is cut is finished by the next try, wherever it was.
        first = machine.start(*install(1))
        time.sleep(chance.uniform(0.0, FIRST_SECONDS))
        power_goes(first)
        machine.run(*install(1))
        assert states(machine) == dict.fromkeys(UNITS, ("active", "enabled"))
        configure(machine, DOWN)
        app = stack.enter_context(App(lambda: machine.inside(SOCKET), "samsara", chance=chance))
        began = time.monotonic()
        machine.run(*install(2))
        takes = time.monotonic() - began
        for number in range(UPGRADE_CUTS):
            served = len(app.acknowledged)
            until(
                lambda served=served: len(app.acknowledged) > served + 20, "the app is served", within=120.0
            )
            upgrade = machine.start(*install(1 + number % 2))
            time.sleep(chance.uniform(0.0, takes))
            promised = len(app.acknowledged)
            power_goes(upgrade)
            # While the power goes, a sync may lie; but then no answer would have been heard either.
            del app.acknowledged[promised:]
            until(lambda: machine.shows("waystation", "ActiveState") == "active", "it runs without help")
            assert sum(row["events"] for row in status(machine)["received"]) >= promised
            machine.run("dpkg", "--configure", "--pending")
        app.stop()
        app.join()
        settled(machine)
        arrived = in_files(machine.inside("/var/lib/waystation/events"))["samsara"]
        assert delivery_faults(app.sent, app.acknowledged, arrived) == []
        assert unbalanced(status(machine)) == []
