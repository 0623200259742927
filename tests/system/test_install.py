"""What the first lines of the documentation promise: `pip install .`, then `waystation run`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from fakes.daemon import Client

pytestmark = pytest.mark.system


def test_daemon_runs_from_an_empty_directory_once_pip_has_installed_it(make_daemon, pip_waystation):
    # The one thing that is configured is the port, which others may have taken.
    daemon = make_daemon(command=pip_waystation, WAYSTATION_LISTENER__0__BIND="127.0.0.1:0")
    (port,) = daemon.start().ports()
    with Client(port) as client:
        body = b'[{"timestamp":1433004485870,"sourceId":"till","eventName":"sold"}]'
        assert client.ask("POST", "/v1/events", body, {"Content-Type": "application/json"}).status == 202
    assert daemon.forwarded()["lanes"][0]["name"] == "file/samsara"
    assert daemon.stop() == 0
    assert list(daemon.directory.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the plans are systemd's here")
@pytest.mark.parametrize("scope", ["user", "system"])
def test_the_wheel_has_what_its_service_needs(waystation, tmp_path, scope):
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        [waystation, "service", "install", f"--{scope}", "--dry-run"],
        env=environ, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    for unit in (
        "waystation.service",
        "waystation.socket",
        "waystation-http.socket",
        "waystation-http6.socket",
    ):
        assert f"/{unit} (0644)\n    [Unit]\n" in done.stdout
    assert f"    ExecStart={waystation} run\n" in done.stdout
    assert ("/etc/sysusers.d/waystation.conf" in done.stdout) == (scope == "system")
    assert list(tmp_path.iterdir()) == []
