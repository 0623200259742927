"""The property lists that launchd is given: text only, for launchd runs on macOS alone."""

from __future__ import annotations

import os
import plistlib
import runpy
from pathlib import Path

import pytest
from fakes.wishes import make_wish

from collector.errors import ServiceError
from collector.host.service import job
from collector.host.service.launchd import described

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def wish(tmp_path):
    return lambda scope="system": make_wish(tmp_path, scope, platform="darwin")


def tree(wish):
    return plistlib.loads(job.text(described(wish)))


def test_a_daemon_of_the_machine_runs_as_its_own_account(wish):
    found = tree(wish())
    assert found["UserName"] == found["GroupName"] == "_waystation"
    assert found["ProgramArguments"] == ["/usr/local/bin/waystation", "run"]
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["EnvironmentVariables"]["STATE_DIRECTORY"] == "/Library/Application Support/waystation"


def test_an_agent_runs_as_its_user(wish):
    found = tree(wish("user"))
    assert "UserName" not in found
    assert found["EnvironmentVariables"] == {}


def test_modes_are_decimal_numbers(wish):
    found = tree(wish())
    assert found["Umask"] == 63
    assert found["Sockets"]["waystation"]["SockPathMode"] == 432


def test_the_daemons_socket_belongs_to_its_account_so_that_its_group_may_post(wish):
    socket = tree(wish())["Sockets"]["waystation"]
    assert socket["SockPathOwner"] == socket["SockPathGroup"] == 461
    assert "SockPathOwner" not in tree(wish("user"))["Sockets"]["waystation"]


def test_a_configured_group_gets_the_socket_by_its_number(tmp_path):
    mine = os.getgid()
    listener = {"bind": "unix:/x/s", "group": str(mine), "mode": 0o666}
    for scope in ("system", "user"):
        asked = make_wish(tmp_path, scope, [listener], platform="darwin")
        socket = tree(asked)["Sockets"]["waystation"]
        assert (socket["SockPathGroup"], socket["SockPathMode"]) == (mine, 0o666)
    with pytest.raises(ServiceError, match="no group nobody-has-this-one"):
        described(make_wish(tmp_path, "user", [{**listener, "group": "nobody-has-this-one"}]))


def test_each_address_has_a_socket_under_the_name_that_the_daemon_asks_for(wish):
    sockets = tree(wish())["Sockets"]
    assert sockets["waystation"]["SockPathName"] == "/run/waystation/waystation.sock"
    assert sockets["waystation-http"]["SockNodeName"] == "127.0.0.1"
    assert sockets["waystation-http6"]["SockNodeName"] == "::1"
    assert {sockets[name]["SockServiceName"] for name in ("waystation-http", "waystation-http6")} == {"9000"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Labell": "x"}, "Labell"),
        ({"Umask": "077"}, "Umask"),
        ({"Umask": 1000}, "Umask"),
        ({"KeepAlive": True}, "KeepAlive"),
        ({"ProgramArguments": ["waystation", "run"]}, "absolute"),
        ({"EnvironmentVariables": {"PRODUCT_SECRET": "x"}}, "read by all"),
        ({"Sockets": {"waystation": {"SockType": "stream", "SockPathName": "/x"}}}, "mode"),
        ({"Sockets": {"waystation": {"SockPathName": "/x", "SockPathMode": 432}}}, "no group"),
        ({"Sockets": {"waystation": {"SockPathName": "/x", "SockPathGroup": "staff"}}}, "SockPathGroup"),
        ({"Sockets": {"waystation": {"SockType": "stream"}}}, "host and a port"),
        ({"Sockets": {"waystation": {"SockType": "dgram"}}}, "SockType"),
        ({"ThrottleInterval": 0}, "ThrottleInterval"),
    ],
)
def test_what_launchd_would_ignore_in_silence_is_refused(wish, change, says):
    wrong = plistlib.dumps({**tree(wish()), **change})
    with pytest.raises(ServiceError, match=says):
        job.check(wrong)


def test_a_truncated_file_is_refused(wish):
    whole = job.text(described(wish()))
    for end in (0, 10, len(whole) // 2, len(whole) - 20):
        with pytest.raises(ServiceError):
            job.check(whole[:end])


@pytest.mark.parametrize("scope", ["system", "user"])
def test_the_shipped_lists_are_what_is_generated(scope):
    generator = runpy.run_path(str(ROOT / "packaging/launchd.py"))
    shipped = (ROOT / f"service/launchd/{scope}.plist").read_bytes()
    assert shipped == generator["example"](scope), "`make docs` writes it"
