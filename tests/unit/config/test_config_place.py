"""Where a daemon is, read from a configuration that cannot be used."""

from __future__ import annotations

import pytest

from collector.config.load import load, load_place
from collector.errors import ConfigError

BROKEN = """
state_dir = "/var/spool/kiosk"
colour = "blue"
[admin]
bind = ["unix:/run/kiosk/admin.sock"]
exclusive = "perhaps"
[spool]
max_age = "soon"
[[upstream]]
name = "samsara"
"""


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(BROKEN)
    return file


def test_only_what_says_where_it_is_counts(file, tmp_path):
    environ = {"HOME": str(tmp_path), "WAYSTATION_SPOOL__MAX_BYTES": "lots"}
    with pytest.raises(ConfigError):
        load(file, environ)
    place = load_place(file, environ)
    assert (place.state_dir, place.admin.bind) == ("/var/spool/kiosk", ("unix:/run/kiosk/admin.sock",))


def test_the_environment_and_drop_ins_say_where_it_is_too(file, tmp_path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/10-place.toml").write_text('state_dir = "/var/spool/other"\n')
    place = load_place(file, {"HOME": str(tmp_path), "WAYSTATION_ADMIN__BIND": '["unix:/run/b.sock"]'})
    assert place.state_dir == "/var/spool/other"
    assert place.admin.bind == ("unix:/run/b.sock",)


@pytest.mark.parametrize("text", ["state_dir = [", "[admin]\nbind = 7\n", 'admin = "here"\n'])
def test_where_not_even_that_can_be_read_it_is_an_error(file, tmp_path, text):
    file.write_text(text)
    with pytest.raises(ConfigError):
        load_place(file, {"HOME": str(tmp_path)})
