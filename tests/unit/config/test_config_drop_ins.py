"""`conf.d/*.toml` beside the configuration file, and labels."""

from __future__ import annotations

import pytest

MAIN = """
    drain_timeout = "5s"

    [spool]
    max_bytes = "64MiB"
    max_age = "1d"

    [labels]
    site = "north"

    [[upstream]]
    name = "one"
    kind = "file"
    directory = "one"
"""


@pytest.fixture
def drop_in(site):
    def write(name: str, text: str):
        directory = site.root / "conf.d"
        directory.mkdir(exist_ok=True)
        file = directory / name
        file.write_text(text)
        return file

    return write


def test_tables_are_merged_and_arrays_of_tables_joined(site, drop_in):
    drop_in("10-more.toml", '[spool]\nmax_bytes = "128MiB"\n[[upstream]]\nname = "two"\nkind = "file"\n')
    drop_in("20-last.toml", '[labels]\nsite = "south"\nrow = "3"\n')
    config = site.load(MAIN)
    assert (config.spool.max_bytes, config.spool.max_age) == (128 << 20, 86400)
    assert [upstream.name for upstream in config.upstream] == ["one", "two"]
    assert config.labels == {"site": "south", "row": "3"}
    assert config.drain_timeout == 5


def test_the_last_by_name_counts(site, drop_in):
    drop_in("b.toml", "drain_timeout = 2")
    drop_in("a.toml", "drain_timeout = 1")
    assert site.load(MAIN).drain_timeout == 2


def test_files_of_another_kind_are_left_alone(site, drop_in):
    drop_in("note.txt", "this is no TOML")
    drop_in("old.toml.bak", "neither is this")
    assert site.load(MAIN).drain_timeout == 5


def test_paths_are_relative_to_the_file_that_names_them(site, drop_in):
    drop_in("x.toml", '[[upstream]]\nname = "two"\nkind = "file"\ndirectory = "two"\n')
    one, two = site.load(MAIN).upstream
    assert one.directory == str(site.root / "one")
    assert two.directory == str(site.root / "conf.d/two")


def test_an_error_names_the_file_at_fault(site, drop_in):
    file = drop_in("x.toml", '\n[[upstream]]\nname = "Two"\nkind = "file"\n[spool]\nmax_age = "soon"\n')
    name, age = site.problems(MAIN)
    assert (name.file, name.line, name.key) == (str(file), 3, "upstream[1].name")
    assert (age.file, age.line, age.key) == (str(file), 6, "spool.max_age")


def test_a_value_that_another_replaced_is_not_at_fault(site, drop_in):
    drop_in("x.toml", "drain_timeout = 1")
    assert site.load(MAIN.replace("5s", "soon")).drain_timeout == 1


def test_what_is_no_toml_is_told_with_its_place(site, drop_in):
    file = drop_in("x.toml", "one = \n")
    problem = site.problem(MAIN)
    assert (problem.file, problem.line) == (str(file), 1)


def test_the_environment_is_above_all_files(site, drop_in):
    drop_in("x.toml", "drain_timeout = 1")
    config = site.load(MAIN, WAYSTATION_DRAIN_TIMEOUT="3", WAYSTATION_LABELS__ROW="7")
    assert config.drain_timeout == 3
    assert config.labels == {"site": "north", "row": "7"}


@pytest.mark.parametrize(
    ("labels", "key"),
    [
        ('Site = "x"', "labels.Site"),
        ("site = 3", "labels.site"),
        ('site = ""', "labels.site"),
        ('site = "a\\"b"', "labels.site"),
        ('site = "zürich"', "labels.site"),
        ('lane = "x"', "labels.lane"),
    ],
)
def test_labels_are_what_metrics_logs_and_headers_can_hold(site, labels, key):
    assert site.problem(f"[labels]\n{labels}\n").key == key


def test_there_are_ten_labels_at_most(site):
    labels = "\n".join(f'name{number} = "x"' for number in range(11))
    problem = site.problem(f"[labels]\n{labels}\n")
    assert (problem.key, problem.expected) == ("labels", "at most 10")


def test_a_short_admin_token_is_refused(site):
    site.secret("token", b"1234\n")
    assert site.problem('[admin]\ntoken_file = "token"\n').key == "admin.token_file"
