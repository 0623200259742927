"""The crash test's checks, checked: each fault that they are there for is found."""

from __future__ import annotations

import dataclasses
import gzip

import pytest
from fakes.delivery import Sent, bare, delivery_faults, elements, in_files, repeat_faults, whole

from collector.demo.book import Received

SENT = [
    Sent(
        f'{{"timestamp":1,"sourceId":"{source}","eventName":"a.b","n":{number},"price":10.10}}',
        source,
        number,
    )
    for number in range(3)
    for source in ("till", "door")
]
STAMP = ',"receivedAt":1792000000000,"publishedAt":1792000000001}'


def arrived(events=SENT):
    return {position: event.text[:-1] + STAMP for position, event in enumerate(events)}


def test_delivery_as_promised_has_no_faults():
    assert delivery_faults(SENT, SENT, arrived()) == []
    assert delivery_faults(SENT, SENT[:2], arrived(SENT[:4])) == []


def test_lost_event_is_found():
    (fault,) = delivery_faults(SENT, SENT, arrived(SENT[:-1]))
    assert fault == f"acknowledged and lost: {SENT[-1].text}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("10.10", "10.1"),
        ('"n":2', '"n": 2'),
        ('"eventName":"a.b"', '"eventName":"a.b","more":1'),
        (STAMP, ',"receivedAt":null}'),
        (STAMP, ',"receivedAt":1792000000000,"receivedAt":1792000000000}'),
    ],
)
def test_altered_event_is_found(before, after):
    events = arrived()
    events[5] = events[5].replace(before, after)
    altered, lost = delivery_faults(SENT, SENT, events)
    assert altered.startswith("altered or never sent")
    assert lost == f"acknowledged and lost: {SENT[5].text}"


def test_events_of_one_source_in_another_order_are_found():
    swapped = [SENT[0], SENT[1], SENT[4], SENT[3], SENT[2], SENT[5]]
    assert delivery_faults(SENT, SENT, arrived(swapped)) == ["out of order: till 1 after 2"]


def test_event_that_was_stored_twice_is_found():
    (twice, _order) = delivery_faults(SENT, SENT, arrived([*SENT, SENT[0]]))
    assert twice.startswith("twice, at 0 and 6: ")


def test_positions_that_come_late_or_are_left_out_are_found():
    events = arrived()
    late = {position: events[position] for position in (0, 1, 3, 2, 4, 5)}
    faults = delivery_faults(SENT, SENT, late)
    assert "out of order: position 3 came where 2 was due" in faults
    del events[2]
    faults = delivery_faults(SENT[:2] + SENT[3:], [], events)
    assert faults[0] == "out of order: position 3 came where 2 was due"


def test_elements_keep_their_own_text():
    texts = ['{"a" :1.0,\n"b":[{}]}', '"],["', "1E5", "[ ]"]
    assert elements("[ " + " ,\t".join(texts) + "\n]") == texts
    assert elements("[]") == []


def test_stamps_are_taken_off_the_end_alone():
    assert bare('{"receivedAt":1792000000000,"a":{"b":1},"receivedAt":1792000000000}') == (
        '{"receivedAt":1792000000000,"a":{"b":1}}'
    )
    assert bare('{"a":1,"serverTimestamp":"2012-03-14T02:33:42.416587+00:00"}') == '{"a":1}'


def request(*, key="k1", first=0, last=1, lane="samsara/samsara", text='[{"n":0},{"n":1}]', length=None):
    body = gzip.compress(text.encode(), mtime=0)
    headers = {
        "Idempotency-Key": f'"{key}"',
        "Waystation-Batch": f'epoch="e", lane="{lane}", first={first}, last={last}',
        "Content-Encoding": "gzip",
        "Content-Length": str(len(body) if length is None else length),
    }
    return Received("POST", "http://localhost/", tuple(headers.items()), body)


def test_repeat_of_the_same_batch_has_no_faults():
    again = dataclasses.replace(request(), body=gzip.compress(b'[{"n":0},{"n":1}]', 1, mtime=1))
    other = request(key="k2", first=2, last=3)
    assert repeat_faults([request(), again, other, request(lane="tt", key="k3")]) == []


@pytest.mark.parametrize(
    ("repeat", "fault"),
    [
        (request(text='[{"n":0},{"n":2}]'), "another body than before"),
        (request(text='[{"n":0}, {"n":1}]'), "another body than before"),
        (request(first=1, last=2), "positions"),
        (request(last=0, text='[{"n":0}]'), "positions"),
        (request(lane="other"), "positions"),
        (request(key="k2"), 'position 0 came under "k1" and "k2"'),
        (request(key="k2", first=1, last=2), 'position 1 came under "k1" and "k2"'),
        (request(last=2), "2 events for the positions 0 to 2"),
    ],
)
def test_repeat_that_differs_is_found(repeat, fault):
    assert any(fault in found for found in repeat_faults([request(), repeat]))


def test_request_that_was_cut_short_is_told_from_a_whole_one():
    assert whole([request(), request(length=1000)]) == [request()]


def test_line_that_a_file_has_twice_is_found(tmp_path):
    line = '{"dialect":"samsara","epoch":"e","position":%d,"event":{"n":%d,"event":1}}\n'
    (tmp_path / "file.samsara.000001.ndjson").write_text(line % (0, 0) + line % (1, 1))
    (tmp_path / "file.samsara.000002.ndjson").write_text(line % (2, 2))
    assert in_files(tmp_path) == {"samsara": {n: f'{{"n":{n},"event":1}}' for n in range(3)}}
    (tmp_path / "file.samsara.000003.ndjson").write_text(line % (2, 2))
    with pytest.raises(AssertionError, match=r"000003.* position 2 twice"):
        in_files(tmp_path)
