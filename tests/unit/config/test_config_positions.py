from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from collector.config.positions import key_lines
from collector.config.show import to_toml

TEXT = '''\
# a comment with [brackets] = 1
top = "a # no comment"   # but this is one
many = [
  1, [2, 3],  # nested = 5
  { a = 1, "b.c" = { d = "}" } },
]
long = """
fake = 1
[not.a.header]
\\""" still \\
"""""
raw = \'\'\'
fake = 2\'\'\'\'
when = 1979-05-27 07:32:00Z

[spool]
max_bytes = "1GiB"
a.b."c d".e = 1
'literal' . x = 2

[[upstream]]
name = "one"
backoff = { initial = "1s", max = "2s" }
[upstream.timeouts]
total = "3s"

[[upstream]]
name = "two"
[[upstream.header]]
key = "x"
[[upstream.header]]
key = "y"
last = 1'''


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_each_key_is_found_where_it_stands():
    tomllib.loads(TEXT)
    lines = key_lines(TEXT)

    def stands(path, part):
        assert lines[path] == line_of(TEXT, part), path

    stands(("top",), "top =")
    stands(("many",), "many =")
    stands(("many", 0), "1, [2")
    stands(("many", 1, 1), "1, [2")
    stands(("many", 2, "a"), "{ a = 1")
    stands(("many", 2, "b.c", "d"), "{ a = 1")
    stands(("long",), "long =")
    stands(("raw",), "raw =")
    stands(("when",), "when =")
    stands(("spool",), "[spool]")
    stands(("spool", "max_bytes"), "max_bytes")
    stands(("spool", "a", "b", "c d", "e"), "a.b.")
    stands(("spool", "literal", "x"), "'literal'")
    stands(("upstream",), "[[upstream]]")
    stands(("upstream", 0), "[[upstream]]")
    stands(("upstream", 0, "backoff", "max"), "backoff =")
    stands(("upstream", 0, "timeouts"), "[upstream.timeouts]")
    stands(("upstream", 0, "timeouts", "total"), "total =")
    stands(("upstream", 1, "name"), 'name = "two"')
    stands(("upstream", 1, "header", 0, "key"), 'key = "x"')
    stands(("upstream", 1, "header", 1, "key"), 'key = "y"')
    stands(("upstream", 1, "header", 1, "last"), "last = 1")


def test_what_only_looks_like_a_key_is_not_one():
    assert ("fake",) not in key_lines(TEXT)
    assert ("not",) not in key_lines(TEXT)
    assert ("nested",) not in key_lines(TEXT)


def test_windows_line_ends_count_once():
    assert key_lines("a = 1\r\nb = 2\r\n") == {("a",): 1, ("b",): 2}


def test_a_header_may_come_before_its_parent():
    lines = key_lines("[a.b]\nx = 1\n[a]\ny = 2\n")
    assert lines[("a",)] == 1
    assert lines[("a", "y")] == 4


names = st.from_regex(r"[a-z][a-z0-9_-]{0,5}", fullmatch=True)
scalars = st.one_of(st.integers(), st.booleans(), st.text(max_size=20))
values = st.one_of(scalars, st.lists(scalars, max_size=3))
tables = st.dictionaries(names, values, max_size=4)
trees = st.dictionaries(
    names, st.one_of(values, tables, st.lists(tables, min_size=1, max_size=3)), max_size=5
)


@given(trees)
def test_every_key_of_a_written_tree_is_found_on_its_line(tree):
    text = to_toml(tree)
    assert tomllib.loads(text) == tree
    written = text.split("\n")
    lines = key_lines(text)
    for path, line in lines.items():
        name = next(part for part in reversed(path) if isinstance(part, str))
        assert name in written[line - 1]

    def paths(value, path):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield (*path, key)
            if isinstance(inner, dict | list):
                yield from paths(inner, (*path, key))

    assert set(paths(tree, ())) == set(lines)
