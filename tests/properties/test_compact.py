"""What is told of a body as a whole must be what cutting it apart tells, however it is written."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from collector.core import jsontext
from collector.core.batch import Chunk, Options
from collector.core.choosing import Bounds, choose
from collector.core.rendering import RENDERER, Context, render

EVERYTHING = Bounds(1 << 40, 1 << 62)

gaps = st.sampled_from(["", "", "", "", " ", "\n", "\t", "\r", "  "])
texts = st.sampled_from(["", "a", "},{", "}, {", "} ,{", "[{", "}]", "{", "\\\\", '\\"', ",", "receivedAt"])
values = st.recursive(
    st.one_of(texts.map(lambda text: f'"{text}"'), st.sampled_from(["1", "null", "-0.10"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.lists(inner, max_size=2).map(
            lambda items: "{" + ",".join(f'"{at}":{item}' for at, item in enumerate(items)) + "}"
        ),
    ),
    max_leaves=5,
)


@st.composite
def bodies(draw):
    """An array of objects, and how many they are."""
    written = []
    events = draw(st.integers(1, 4))
    for number in range(events):
        inside = draw(gaps)
        written.append(draw(gaps) + "{" + inside + f'"n":{number},"v":{draw(values)}' + "}" + draw(gaps))
    return f"[{','.join(written)}]".encode(), events


def chunks_of(body: bytes, events: int) -> list[Chunk]:
    return [Chunk(1, 0, events, 20_000, 1_800_000_000_000, 5, "", len(body), body)]


@given(bodies())
@example((b'[{"n":0,"v":1},{"n":1}]', 2))
@example((b'[{"n":0,"v":"},{"} ,{"n":1}]', 2))
@example((b'[{"n":0,"v":[{},{}]}, {"n":1}]', 2))
def test_a_whole_body_renders_to_the_bytes_of_its_events_one_by_one(made):
    body, events = made
    (whole,) = choose(chunks_of(body, events), index=0, bounds=EVERYTHING).pieces
    assert (whole.cut is None) is jsontext.is_compact(body, events)
    assert whole.events == jsontext.split_array(body)
    assert whole.count == len(whole.events)
    for dialect in ("samsara", "traintracks"):
        for options in (
            Options(),
            Options(stamp_ids=True),
            Options(late_before=1 << 53),
            Options(form="lines"),
        ):
            context = Context(RENDERER, options, "9d1e", dialect, "")
            run = choose(chunks_of(body, events), index=0, bounds=EVERYTHING)
            cut = replace(run, pieces=(replace(whole, cut=whole.events),))
            assert render(run, context) == render(cut, context)


@given(bodies(), st.integers(1, 200))
def test_a_whole_body_is_as_large_as_its_events_are(made, max_bytes):
    body, events = made
    run = choose(chunks_of(body, events), index=0, bounds=Bounds(1 << 40, max_bytes))
    sizes = [len(event) for event in jsontext.split_array(body)]
    fitting = max(1, next((n for n in range(events, 0, -1) if sum(sizes[:n]) <= max_bytes), 1))
    assert run.events == fitting


def test_what_clients_write_is_compact_and_what_people_write_is_not():
    assert jsontext.is_compact(b'[{"a":"b c"},{"a":{"b":{}}}]', 2)
    assert jsontext.is_compact(b'[{"a": [1, 2]}]', 1)
    assert not jsontext.is_compact(b'[{"a":1}, {"a":2}]', 2)
    assert not jsontext.is_compact(b'[{"a":"},{"},{"a":2}]', 2)
    assert not jsontext.is_compact(b"[]", 0)
