from __future__ import annotations

import pytest


def test_single_values_are_overridden(site):
    config = site.load(
        '[spool]\nmax_bytes = "64MiB"\nmax_age = "1d"\n',
        WAYSTATION_SPOOL__MAX_BYTES="2GiB",
        WAYSTATION_STATE_DIR="/somewhere",
        WAYSTATION_DRAIN_TIMEOUT="3.5",
        WAYSTATION_ADMIN__EXCLUSIVE="true",
    )
    assert config.spool.max_bytes == 2**31
    assert config.spool.max_age == 86400
    assert config.state_dir == "/somewhere"
    assert config.drain_timeout == 3.5
    assert config.admin.exclusive
    assert len(config.admin.bind) == 1


def test_tables_in_arrays_are_counted(site):
    config = site.load(
        '[[upstream]]\nname = "a"\nkind = "samsara"\nsigning = "none"\nurl = "https://one.example/"\n',
        WAYSTATION_UPSTREAM__0__URL="https://two.example/",
        WAYSTATION_UPSTREAM__0__BACKOFF__MAX="2m",
        WAYSTATION_UPSTREAM__0__RETRY="500, 418",
        WAYSTATION_UPSTREAM__1__NAME="b",
        WAYSTATION_UPSTREAM__1__KIND="file",
    )
    first, second = config.upstream
    assert first.url == "https://two.example/"
    assert first.backoff.max == 120
    assert first.retry == (500, 418)
    assert second.name == "b"


def test_more_than_ten_elements_keep_their_order(site):
    config = site.load(
        **{f"WAYSTATION_LISTENER__{n}__BIND": f"127.0.0.1:{9000 + n}" for n in reversed(range(12))}
    )
    assert [listener.address.port for listener in config.listener] == list(range(9000, 9012))


def test_arrays_are_separated_by_commas_or_written_as_toml(site):
    config = site.load(
        WAYSTATION_LISTENER__0__BIND="localhost:9000",
        WAYSTATION_LISTENER__0__ALLOWED_ORIGINS="http://a.example,null",
        WAYSTATION_LISTENER__0__ALLOWED_HOSTS='["a", "b"]',
    )
    (listener,) = config.listener
    assert listener.allowed_origins == ("http://a.example", "null")
    assert listener.allowed_hosts == ("a", "b")


def test_an_empty_variable_is_not_set(site):
    assert site.load('device = "d"', WAYSTATION_DEVICE="").device == "d"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("WAYSTATION_SPOOL__MAX_BYTE", "WAYSTATION_SPOOL__MAX_BYTES (did you mean that?)"),
        ("WAYSTATION_SPOOL_MAX_BYTES", "WAYSTATION_SPOOL__MAX_BYTES (did you mean that?)"),
        ("WAYSTATION_UPSTREAM__0__URI", "WAYSTATION_UPSTREAM__0__URL (did you mean that?)"),
        ("WAYSTATION_UPSTREAM__URL", "WAYSTATION_UPSTREAM__0__URL (did you mean that?)"),
        ("WAYSTATION_ZZZ", "the name of a key, or none"),
        ("WAYSTATION_", "the name of a key, or none"),
    ],
)
def test_unknown_variables_are_refused(site, name, hint):
    problem = site.problem(**{name: "1"})
    assert (problem.file, problem.line, problem.key) == ("environment", None, name)
    assert problem.expected == hint


@pytest.mark.parametrize("name", ["WAYSTATION_SPOOL", "WAYSTATION_LISTENER", "WAYSTATION_LISTENER__0"])
def test_tables_are_not_overridden_as_a_whole(site, name):
    assert site.problem(**{name: "1"}).found == "an unknown variable"


def test_the_commands_own_variables_are_not_taken_for_keys(site):
    site.load(WAYSTATION_SOCKET="/x", WAYSTATION_DEBUG="1")


def test_variables_that_hold_secrets_may_have_any_name(site):
    config = site.load(
        '[[product]]\nkey = "a"\nsecret_env = "WAYSTATION_MY_SECRET"\n', WAYSTATION_MY_SECRET="hunter2"
    )
    assert config.product[0].secret.read({"WAYSTATION_MY_SECRET": "hunter2"}) == b"hunter2"
    site.load(
        "",
        WAYSTATION_PRODUCT__0__KEY="a",
        WAYSTATION_PRODUCT__0__SECRET_ENV="WAYSTATION_OTHER",
        WAYSTATION_OTHER="hunter2",
    )


def test_a_wrong_value_names_its_variable(site):
    problem = site.problem('[spool]\nmax_bytes = "64MiB"\n', WAYSTATION_SPOOL__MAX_BYTES="lots")
    assert (problem.file, problem.key, problem.found) == (
        "environment",
        "WAYSTATION_SPOOL__MAX_BYTES",
        '"lots"',
    )


def test_what_is_missing_beside_a_variable_is_a_variable_too(site):
    problems = site.problems(WAYSTATION_UPSTREAM__0__NAME="a")
    assert [(problem.file, problem.key) for problem in problems] == [
        ("environment", "WAYSTATION_UPSTREAM__0__KIND")
    ]


def test_a_number_takes_the_place_of_a_default_array(site):
    config = site.load(WAYSTATION_LISTENER__0__BIND="localhost:9100")
    assert [listener.bind for listener in config.listener] == ["localhost:9100"]


def test_a_number_past_the_end_is_refused(site):
    problem = site.problem(WAYSTATION_LISTENER__5__BIND="localhost:1")
    assert (problem.found, problem.expected) == ("the number 5", "at most 0")


def test_errors_of_file_and_environment_come_together(site):
    problems = site.problems("x = 1", WAYSTATION_Y="2")
    assert [problem.file for problem in problems] == [str(site.file), "environment"]
