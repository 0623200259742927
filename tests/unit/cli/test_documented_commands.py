"""The documents name only commands, options and alerts that there are."""

from __future__ import annotations

import re

import click
import pytest
from fakes.markdown import DOCUMENTS, ROOT, commands, name_of

from collector.admin.families import FAMILIES
from collector.cli import COMMANDS, waystation

USES = [(name_of(document), words) for document in DOCUMENTS for words in commands(document)]


@pytest.mark.parametrize(("document", "words"), USES, ids=lambda value: str(value)[:60])
def test_a_document_names_commands_and_options_that_there_are(document, words):
    command: click.Command = waystation
    context = click.Context(waystation)
    options = {"--help", "-h"}
    for word in words:
        if isinstance(command, click.Group):
            found = command.get_command(context, word)
            if found is None and command is not waystation:
                return  # `waystation spool` and what is said about it
            assert found is not None, f"{document}: there is no command {word}"
            command = found
            options |= {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        elif word.startswith("-") and word.strip("-"):
            assert word.rstrip(",.:").partition("=")[0] in options, f"{document}: there is no option {word}"


def test_every_command_is_in_the_documents():
    named = {words[0] for _, words in USES}
    assert set(COMMANDS) - named == set()


def test_every_alert_is_explained():
    rules = (ROOT / "docs/operations/alerts.yml").read_text(encoding="utf-8")
    explained = (ROOT / "docs/operations/alerts.md").read_text(encoding="utf-8")
    alerts = re.findall(r"alert: (\w+)", rules)
    assert alerts
    assert re.findall(r"^## (\w+)$", explained, re.MULTILINE) == alerts


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_between_documents_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{name_of(document)}: {target}"
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{name_of(document)}: {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_a_document_names_metrics_that_there_are(document):
    text = document.read_text(encoding="utf-8")
    known = {family.name for family in FAMILIES} | {family.shown for family in FAMILIES}
    named = set(re.findall(r"`(waystation_[a-z_]+[a-z])", text)) - {"waystation_device"}  # a credential
    assert {name for name in named if re.sub(r"_(?:bucket|sum|count)$", "", name) not in known} == set()
