"""Two users of one machine at one UNIX socket: the kernel says which is which, and they are treated so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from fakes.daemon import LISTENERS, PATIENCE, Client

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="names the users and groups of a Linux system"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two users"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

PRODUCT = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
SAMSARA = json.dumps([{"timestamp": 1433004485870, "sourceId": "till", "eventName": "sold"}])
PLAY = json.dumps([{"eventType": "play", "clientTimestamp": "2012-03-14T02:33:42.416587+00:00", "data": {}}])
FILE = '\n[[upstream]]\nname = "file"\nkind = "file"\n'


def post_as(user, place, body=SAMSARA, *, group="nogroup", groups=(), **headers):
    """The status and body of the answer to a post by another user's process; 0 for none."""
    named = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
    done = subprocess.run(
        [
            *(
                "curl",
                "-sS",
                "--unix-socket",
                str(place),
                "http://localhost/v1/events",
                "--data-binary",
                body,
            ),
            *(part for name, value in named.items() for part in ("-H", f"{name}: {value}")),
            *("-w", "\n%{http_code}"),
        ],
        user=user,
        group=group,
        extra_groups=list(groups),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    answer, _, status = done.stdout.rpartition("\n")
    return int(status), answer


@pytest.fixture
def start(make_daemon):
    """Starts a daemon to whose socket any user may find the way: only it decides."""

    def start(config):
        daemon = make_daemon(config)
        daemon.runtime.parent.chmod(0o711)
        daemon.runtime.chmod(0o711)
        daemon.socket.parent.mkdir(mode=0o711)
        daemon.secret("product.secret", b"s3cret")
        return daemon.start()

    return start


def test_one_user_is_allowed_and_the_other_refused(start):
    daemon = start(LISTENERS + 'mode = "0666"\nallow_users = ["daemon"]\n')
    assert post_as("daemon", daemon.socket)[0] == 202
    status, told = post_as("nobody", daemon.socket)
    assert status == 403
    assert "allow_users" in told
    with Client(daemon.socket) as root:  # who is not on the list may not, not even root
        assert root.ask("POST", "/v1/events", SAMSARA.encode()).status == 403


def test_a_group_may_be_one_of_several(start):
    daemon = start(LISTENERS + 'mode = "0666"\nallow_groups = ["games"]\n')
    assert post_as("nobody", daemon.socket, group="games")[0] == 202
    assert post_as("nobody", daemon.socket, groups=["audio", "games"])[0] == 202
    assert post_as("nobody", daemon.socket, groups=["audio"])[0] == 403


def test_the_mode_keeps_others_from_connecting_at_all(start):
    daemon = start(LISTENERS + 'mode = "0660"\ngroup = "games"\n')
    assert post_as("nobody", daemon.socket, group="games")[0] == 202
    assert post_as("nobody", daemon.socket)[0] == 0


def test_a_product_is_its_users_alone(start):
    product = f'\n[[product]]\nkey = "{PRODUCT}"\nsecret_file = "product.secret"\nusers = ["daemon"]\n'
    daemon = start(LISTENERS + 'mode = "0666"\n' + product + FILE)
    assert post_as("daemon", daemon.socket, PLAY, X_Product_Key=PRODUCT)[0] == 200
    status, told = post_as("nobody", daemon.socket, PLAY, X_Product_Key=PRODUCT)
    assert status == 403
    assert "certain users" in told
    assert post_as("nobody", daemon.socket)[0] == 202


def test_a_quota_is_each_users_own(start):
    daemon = start(LISTENERS + f'mode = "0666"\nquota_by_user = {2 * len(SAMSARA)}\n')
    statuses = [post_as(user, daemon.socket)[0] for user in ("daemon", "nobody") for _ in range(3)]
    assert statuses == [202, 202, 429] * 2
