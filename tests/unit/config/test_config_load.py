from __future__ import annotations

from pathlib import Path

import pytest

from collector.config.load import load
from collector.config.model import Backoff, TcpAddress, UnixAddress
from collector.errors import ConfigError


def test_nothing_at_all_is_a_working_configuration(site):
    config = site.load()
    state = site.root / "home/.local/state/waystation"
    assert config.state_dir == str(state)
    assert [listener.address for listener in config.listener] == [
        TcpAddress(("127.0.0.1", "::1"), 9000),
        UnixAddress(f"{site.root}/waystation/waystation.sock"),
    ]
    assert [listener.auth_mode for listener in config.listener] == ["required", "if-present"]
    assert config.admin.addresses == (UnixAddress(f"{site.root}/waystation/admin.sock"),)
    (upstream,) = config.upstream
    assert (upstream.name, upstream.kind, upstream.directory) == ("file", "file", str(state / "events"))
    assert upstream.takes == ("samsara", "traintracks")
    assert (config.spool.max_bytes, config.spool.max_age) == (2**30, 30 * 86400)


FULL = """
    state_dir = "state"
    device = "kiosk-17"
    drain_timeout = 5

    [[listener]]
    bind = "127.0.0.1:9001"
    auth = "off"
    allowed_origins = ["http://localhost:3000", "null"]
    allowed_hosts = ["kiosk.local"]
    strict = true

    [[listener]]
    bind = "unix:/run/waystation/waystation.sock"
    mode = "0600"

    [admin]
    bind = ["unix:/run/waystation/admin.sock", "[::1]:9010"]
    exclusive = true

    [spool]
    max_bytes = "256MiB"
    max_age = "1d12h"
    when_full = "drop-oldest"
    durability = "normal"
    commit_interval = "20ms"

    [[product]]
    key = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
    secret_file = "product.secret"

    [[upstream]]
    name = "samsara"
    kind = "samsara"
    url = "https://ingest.example.com/v1/events"
    signing = "rfc9421"
    key_id = "kiosk-17"
    key_file = "device.pem"
    stamp_ids = true

    [[upstream]]
    name = "traintracks"
    kind = "traintracks"
    url = "https://api.traintracks.io/v1/events"
    backoff = { initial = "2s", max = "2m" }
    success = [200]

    [log]
    level = "debug"
    format = "json"
"""


def test_every_key_reaches_the_model(site, ed25519_pem):
    site.secret("product.secret", b"s3cret\n")
    site.secret("device.pem", ed25519_pem)
    config = site.load(FULL)
    assert config.state_dir == str(site.root / "state")
    assert config.device == "kiosk-17"
    assert config.drain_timeout == 5.0
    tcp, unix = config.listener
    assert (tcp.auth_mode, tcp.strict, tcp.allowed_hosts) == ("off", True, ("kiosk.local",))
    assert (unix.mode, unix.address.path) == (0o600, "/run/waystation/waystation.sock")
    assert config.admin.exclusive
    assert config.spool.max_age == 129_600
    assert config.spool.commit_interval == 0.02
    assert config.product[0].secret.read({}) == b"s3cret"
    samsara, traintracks = config.upstream
    assert samsara.key is not None
    assert samsara.key.read({}).startswith(b"-----BEGIN PRIVATE KEY-----")
    assert samsara.stamp_ids
    assert samsara.compresses
    assert traintracks.backoff == Backoff(initial=2.0, max=120.0)
    assert traintracks.success == (200,)
    assert not traintracks.compresses
    assert config.log.format == "json"


def test_only_configured_products_are_taken_and_by_whom(site, ed25519_pem):
    site.secret("product.secret", b"s3cret\n")
    site.secret("device.pem", ed25519_pem)
    config = site.load(FULL)
    key = config.product[0].key
    assert [upstream.name for upstream in config.takers("samsara")] == ["samsara"]
    assert [upstream.name for upstream in config.takers("traintracks", key)] == ["traintracks"]
    assert config.takers("traintracks", "another") == ()


def test_without_products_files_take_any(site):
    config = site.load()
    assert [upstream.name for upstream in config.takers("traintracks", "anything")] == ["file"]


def test_all_errors_are_told_at_once_each_in_its_place(site):
    problems = site.problems("""\
        state_dir = "/var/lib/x"
        drain_time = "10s"
        [[listener]]
        bind = "0.0.0.0:9000"
        [spool]
        max_bytes = "1G"
        max_age = "thirty days"
        durability = 3
        [[product]]
        key = "a b"
        secret_file = "missing.secret"
        [[upstream]]
        kind = "samsara"
        url = "http://ingest.example.com/v1/events"
        backoff = { initial = "1s", max = "forever" }
        [[upstream]]
        name = "tt"
        kind = "traintracks"
        url = "https://api.example/"
        directory = "/x"
        success = [200, "201"]
    """)
    assert [(problem.line, problem.key) for problem in problems] == [
        (2, "drain_time"),
        (4, "listener[0].bind"),
        (6, "spool.max_bytes"),
        (7, "spool.max_age"),
        (8, "spool.durability"),
        (10, "product[0].key"),
        (11, "product[0].secret_file"),
        (12, "upstream[0].name"),
        (12, "upstream[0].signing"),
        (14, "upstream[0].url"),
        (15, "upstream[0].backoff.max"),
        (20, "upstream[1].directory"),
        (21, "upstream[1].success[1]"),
    ]
    assert {problem.file for problem in problems} == {str(site.file)}
    by_key = {problem.key: problem for problem in problems}
    assert by_key["drain_time"].expected == "drain_timeout (did you mean that?)"
    assert by_key["spool.max_bytes"].found == '"1G"'
    assert by_key["spool.max_bytes"].expected == 'a size such as "512MiB", at least 16MiB'
    assert by_key["spool.durability"].expected == 'one of "full", "normal"'
    assert by_key["upstream[0].name"].found == "nothing"


@pytest.mark.parametrize(
    ("text", "found", "expected"),
    [
        ("spool = 3", "3", "a table"),
        ("state_dir = 3", "3", "a path"),
        ("state_dir = 'a\tb'", '"a\\tb"', "a path"),
        ("state_dir = ''", '""', "a path"),
        ("device = true", "true", "1 to 64 of"),
        ("listener = {}", "a table", "an array of tables, each begun by [[listener]]"),
        ("drain_timeout = nan", "nan", "a duration"),
        ("drain_timeout = inf", "inf", "a duration"),
        ("drain_timeout = 0x" + "f" * 5000, "a huge number", "a duration"),
        ("drain_timeout = -1", "-1", "at least 0s and at most 1h"),
        ("drain_timeout = true", "true", "a duration"),
        ("drain_timeout = 1979-05-27", "a date or time", "a duration"),
        ("spool.max_bytes = 1.5", "1.5", "a size"),
        ("spool.max_bytes = 1024", "1024", "at least 16MiB"),
        ("spool.max_bytes = 0x" + "f" * 5000, "a huge number", "a size"),
        ("spool.max_bytes = 99999999999999999999", "99999999999999999999", "a size"),
        ("admin.exclusive = 1", "1", "true or false"),
        ("admin.bind = 'unix:/x'", '"unix:/x"', "an array, each a string"),
        ("log.level = 'loud'", '"loud"', 'one of "debug", "error", "info", "warning"'),
    ],
)
def test_a_wrong_value_is_told_with_what_would_do(site, text, found, expected):
    problem = site.problem(text)
    assert problem.line == 1
    assert problem.found == found
    assert expected in problem.expected


def test_an_unknown_key_without_a_like_gets_the_list(site):
    problem = site.problem('[log]\ncolour = "no"\n')
    assert problem.found == "an unknown key"
    assert problem.expected == "one of level, format"


def test_long_values_are_cut_and_stay_on_one_line(site):
    problem = site.problem(f'device = "{"x" * 500}\\n"')
    assert len(problem.found) < 100
    assert "\n" not in str(problem)


@pytest.mark.parametrize(
    ("text", "line", "where"),
    [
        ("a = 1\nb = = 2\n", 2, "at column 5 (invalid value)"),
        ('a = "x', 1, "at the end (unterminated string)"),
        ("a = 1\na = 2\n", 2, "at column "),
        ("[t]\nx = [1,\n", 3, "at the end (invalid value)"),
    ],
)
def test_broken_syntax_is_one_problem_with_its_place(site, text, line, where):
    problem = site.problem(text)
    assert problem.line == line
    assert problem.found.startswith(f"a syntax error {where}")
    assert problem.expected == "valid TOML"


def test_bytes_that_are_no_text_are_told_with_their_line(site):
    site.file.write_bytes(b"# fine\ndevice = '\xff'\n")
    assert site.problem().line == 2


def test_a_value_nested_beyond_reason_is_refused(site):
    assert "too deep" in site.problem(f"a = {'[' * 100_000}").found


def test_a_file_that_is_named_must_be_there(site):
    with pytest.raises(ConfigError) as caught:
        load(site.root / "none.toml", site.environ)
    assert "No such file" in str(caught.value)
    with pytest.raises(ConfigError):
        load(None, {**site.environ, "WAYSTATION_CONFIG": str(site.root / "none.toml")})


def test_a_file_that_is_far_too_large_is_refused(site):
    site.file.write_text("#" * (1024 * 1024 + 1))
    assert "more than" in site.problem().found


def test_the_users_file_comes_before_the_systems(site):
    system = site.root / "etc" / "config.toml"
    system.parent.mkdir()
    system.write_text('device = "system"')
    assert load(None, site.environ).device == "system"
    users = Path(site.environ["HOME"]) / ".config/waystation/config.toml"
    users.parent.mkdir(parents=True)
    users.write_text('device = "user"')
    assert load(None, site.environ).device == "user"
    named = site.root / "named.toml"
    named.write_text('device = "named"')
    assert load(None, {**site.environ, "WAYSTATION_CONFIG": str(named)}).device == "named"
    site.write('device = "given"')
    assert load(site.file, {**site.environ, "WAYSTATION_CONFIG": str(named)}).device == "given"


def test_paths_are_relative_to_the_file_and_know_the_home_directory(site):
    config = site.load("""
        state_dir = "~/state"
        [[upstream]]
        name = "a"
        kind = "file"
        directory = "events"
    """)
    assert config.state_dir == f"{site.environ['HOME']}/state"
    assert config.upstream[0].directory == str(site.root / "events")


def test_secrets_need_not_be_readable_for_commands_that_need_none(site):
    site.write('[[product]]\nkey = "a"\nsecret_file = "missing"\n')
    assert load(site.file, site.environ, read_secrets=False).product[0].key == "a"


def test_a_faulty_array_element_does_not_shift_the_blame(site):
    problems = site.problems('listener = [3, {bind = "localhost:1"}, {bind = "0.0.0.0:1"}]')
    assert [problem.key for problem in problems] == ["listener[0]"]
