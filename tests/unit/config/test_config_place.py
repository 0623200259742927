"""Where a daemon is, read from a configuration that cannot be used."""

from __future__ import annotations

import pytest

from collector.config.load import load, load_place
from collector.config.place import find_place
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


def test_who_only_asks_finds_the_place_that_the_whole_configuration_says(file, tmp_path):
    for text in (
        "",
        f'state_dir = "{tmp_path}"\n',
        "[admin]\nexclusive = true\n",
        '[admin]\nbind = ["unix:/run/a.sock", "localhost:9010"]\n',
    ):
        file.write_text(text)
        for name in ("XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY"):
            environ = {"HOME": str(tmp_path), name: str(tmp_path)}
            assert find_place(file, environ).admin.addresses == load(file, environ).admin.addresses
    environ = {"HOME": str(tmp_path)}
    assert find_place(None, environ).admin.addresses == load(None, environ).admin.addresses


@pytest.mark.parametrize("text", ["[admin]\nbind = 7\n", 'admin = "here"\n', '[admin]\nbind = ["no"]\n'])
def test_where_the_files_alone_do_not_say_it_the_whole_configuration_is_to(file, tmp_path, text):
    file.write_text("")
    assert find_place(file, {"HOME": str(tmp_path), "WAYSTATION_ADMIN__BIND": "unix:/run/b.sock"}) is None
    assert find_place(file, {"HOME": str(tmp_path), "WAYSTATION_ADMIN__BIND": ""}) is not None
    file.write_text(text)
    assert find_place(file, {"HOME": str(tmp_path)}) is None


def test_a_file_that_is_no_toml_says_nothing_to_anybody(file, tmp_path):
    file.write_text("state_dir = [")
    with pytest.raises(ConfigError):
        find_place(file, {"HOME": str(tmp_path)})
