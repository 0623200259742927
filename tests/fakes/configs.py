"""What several tests put in a real daemon's configuration.

`URL` is for the test to replace. An upstream's table is left open: keys of it may follow.
"""

from __future__ import annotations

KEY_ID = "kiosk-17"
KEY = b"a key of thirty-two bytes or more"
"""What `SIGNED` signs with, once it is in `KEY_FILE` beside the configuration."""

KEY_FILE = "hmac.secret"

SIGNED = f"""
[[upstream]]
name = "samsara"
kind = "samsara"
url = "URL"
signing = "rfc9421"
key_id = "{KEY_ID}"
secret_file = "{KEY_FILE}"
"""

UNSIGNED = """
[[upstream]]
name = "samsara"
kind = "samsara"
url = "URL"
signing = "none"
"""

FILE = """
[[upstream]]
name = "file"
kind = "file"
"""

ADMIN_OVER_TCP = """
[[listener]]
bind = "unix:$socket"

[admin]
bind = ["unix:$admin", "127.0.0.1:0"]
"""
"""A listener for apps, and the admin listener on a UNIX socket and on a port that the system chooses."""
