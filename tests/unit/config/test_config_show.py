from __future__ import annotations

import re
import tomllib

import msgspec
import msgspec.inspect as mi
import pytest

from collector.config.convert import unwrap
from collector.config.load import load
from collector.config.model import Config, Upstream
from collector.config.redact import redact_url
from collector.config.schema import describe, json_schema
from collector.config.show import as_tree, to_toml

TEXT = """
    [[listener]]
    bind = "localhost:9000"
    [[listener]]
    bind = "unix:/run/waystation/waystation.sock"
    mode = "0600"
    [[product]]
    key = "p"
    secret_env = "P"
    [[upstream]]
    name = "s"
    kind = "samsara"
    url = "{url}"
    signing = "rfc9421"
    key_id = "k"
    secret_env = "P"
    retry = [500]
    compress = false
    backoff = {{ max = "90s" }}
    [[upstream]]
    name = "t"
    kind = "traintracks"
    url = "http://127.0.0.1:1/"
    timeouts = {{ total = "1m30s" }}
    [[upstream]]
    name = "f"
    kind = "file"
"""


def without_stand_ins(config):
    """The configuration but for the two keys that are shown even where they are not set."""
    replace = msgspec.structs.replace
    return (
        replace(
            config,
            listener=tuple(replace(one, auth=None) for one in config.listener),
            upstream=tuple(replace(one, compress=None) for one in config.upstream),
        ),
        [one.auth_mode for one in config.listener],
        [one.compresses for one in config.upstream if one.kind != "file"],
    )


def test_what_is_shown_loads_as_the_same(site):
    config = site.load(TEXT.format(url="https://s.example/"), P="hunter2")
    shown = to_toml(as_tree(config))
    site.write(shown)
    again = site.load(P="hunter2")
    assert to_toml(as_tree(again)) == shown
    assert without_stand_ins(again) == without_stand_ins(config)


def test_the_defaults_that_are_shown_load_as_the_same(site):
    config = site.load()
    site.write(to_toml(as_tree(config)))
    assert without_stand_ins(site.load()) == without_stand_ins(config)


def test_what_stands_for_a_key_that_is_not_set_is_shown(site):
    tree = as_tree(site.load(TEXT.format(url="https://s.example/"), P="hunter2"))
    assert [listener["auth"] for listener in tree["listener"]] == ["required", "if-present"]
    assert [upstream.get("compress") for upstream in tree["upstream"]] == [False, False, None]
    tree = as_tree(site.load(TEXT.format(url="https://s.example/").replace("compress = false", ""), P="x"))
    assert tree["upstream"][0]["compress"] is True


def test_overrides_are_shown(site):
    shown = as_tree(site.load("", WAYSTATION_SPOOL__MAX_BYTES="3GiB"))
    assert shown["spool"]["max_bytes"] == "3GiB"


def test_no_secret_is_shown(site):
    config = site.load(TEXT.format(url="https://me:hunter2@s.example/?t=hunter2"), P="hunter2")
    for text in (to_toml(as_tree(config)), repr(config), repr(config.upstream[0].secret)):
        assert "hunter2" not in text
    assert as_tree(config)["upstream"][0]["url"] == "https://***@s.example/?t=***"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h/x?a=b@c", "https://***@h/x?a=***"),
        ("https://h?a=b&c=&d&&e=f=g", "https://h?a=***&c=***&***&&e=***"),
        ("https://h/?https://u:p@k/?a=b", "https://h/?***"),
        ("https://h/#token=x", "https://h/#***"),
        ("https://h/?a=x#token", "https://h/?a=***#***"),
        ("https://h/? and http://k?a=b are two", "https://h/? and http://k?a=*** are two"),
        ("is it? a=b", "is it? a=b"),
        ("https://u:p@q@h/", "https://***@h/"),
        ("https://u@h", "https://***@h"),
        ("see http://u:p@h and http://h/a@b", "see http://***@h and http://h/a@b"),
        ("https://h/", "https://h/"),
        ('url = "https://u:p@h/?a=b"', 'url = "https://***@h/?a=***"'),
        ('{"url": "https://h/?a=b#c", "n": 1}', '{"url": "https://h/?a=***#***", "n": 1}'),
        ("'https://h/?a=b'),", "'https://h/?a=***'),"),
    ],
)
def test_what_may_be_secret_is_left_out_of_urls(url, shown):
    assert redact_url(url) == shown


def test_odd_texts_survive_toml():
    tree = {"a": 'quote " back \\ tab \t line \n del \x7f nul \x00 ö 😀', "b": [], "c": {"d": [True, 1, 1.5]}}
    assert tomllib.loads(to_toml(tree)) == tree


def structs(kind):
    inner, _ = unwrap(kind)
    if isinstance(inner, mi.VarTupleType):
        yield from structs(inner.item_type)
    elif isinstance(inner, mi.StructType):
        yield inner
        for field in inner.fields:
            yield from structs(field.type)


@pytest.mark.parametrize("struct", list(structs(mi.type_info(Config))), ids=lambda kind: kind.cls.__name__)
def test_every_key_is_described_and_nothing_else_is(struct):
    assert list(describe(struct.cls)) == [field.encode_name for field in struct.fields]


def objects(schema):
    if "properties" in schema:  # the others are tables whose keys are the operator's own
        yield schema
        for inner in schema["properties"].values():
            yield from objects(inner)
    elif schema.get("type") == "array":
        yield from objects(schema["items"])


def test_the_schema_refuses_unknown_keys_everywhere():
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    tables = list(objects(schema))
    assert len(tables) == len(list(structs(mi.type_info(Config))))
    assert all(table["additionalProperties"] is False for table in tables)


def test_the_schema_asks_only_for_what_loading_asks_for():
    schema = json_schema()
    assert schema["required"] == []
    assert schema["properties"]["upstream"]["items"]["required"] == ["name", "kind"]
    assert schema["properties"]["listener"]["items"]["required"] == ["bind"]
    assert "default" not in schema["properties"]["listener"]


def test_defaults_in_the_schema_fit_their_own_pattern():
    for table in objects(json_schema()):
        for key, schema in table["properties"].items():
            if "default" in schema and "pattern" in schema:
                assert re.search(schema["pattern"], schema["default"]), key


def test_sizes_are_texts_or_integers_in_the_schema():
    size = json_schema()["properties"]["spool"]["properties"]["max_bytes"]
    assert size["type"] == ["string", "integer"]
    assert (size["default"], size["minimum"]) == ("1GiB", 16 * 2**20)
    assert re.search(size["pattern"], "512MiB")
    assert not re.search(size["pattern"], "512M")


def test_upstreams_show_themselves_without_their_secrets():
    upstream = Upstream(name="a", kind="samsara", url="https://u:hunter2@h/")
    assert repr(upstream) == "Upstream(name='a', kind='samsara', url='https://***@h/')"


def test_ten_lines_are_enough_for_a_real_upstream(site, ed25519_pem):
    site.secret("device.pem", ed25519_pem)
    site.write("""
        [[listener]]
        bind = "localhost:9000"

        [[upstream]]
        name = "ingest"
        kind = "samsara"
        url = "https://ingest.example.com/v1/events"
        signing = "rfc9421"
        key_id = "kiosk-17"
        key_file = "device.pem"
    """)
    assert load(site.file, site.environ).upstream[0].name == "ingest"
