"""What the first lines of the documentation promise: `pip install .`, then `waystation run`."""

from __future__ import annotations

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
