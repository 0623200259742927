from __future__ import annotations

import os

import pytest

from collector.config.model import Product
from collector.config.secret import MAX_SECRET_BYTES, Secret, read_secret_file
from collector.errors import SecretError


def test_a_file_gives_its_content_without_the_line_break_at_the_end(site):
    for content in (b"s3cret", b"s3cret\n", b"s3cret\r\n"):
        assert read_secret_file(site.secret("s", content), {}) == b"s3cret"
    assert read_secret_file(site.secret("s", b" s3 \n\n"), {}) == b" s3 \n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
def test_a_file_that_others_may_touch_is_refused(site, mode):
    path = site.secret("s", b"s3cret", mode)
    with pytest.raises(SecretError) as caught:
        read_secret_file(path, {})
    assert f"{mode:04o}" in caught.value.found
    assert "chmod 600" in caught.value.expected


def test_what_the_service_manager_handed_over_may_have_its_mode(site):
    credentials = site.root / "credentials"
    credentials.mkdir()
    path = site.secret("credentials/s", b"s3cret", 0o444)
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert read_secret_file(path, environ) == b"s3cret"
    assert Secret("credential", "s").read(environ) == b"s3cret"


def test_a_link_out_of_the_credentials_directory_is_not_trusted(site):
    credentials = site.root / "credentials"
    credentials.mkdir()
    site.secret("open", b"s3cret", 0o644)
    (credentials / "s").symlink_to(site.root / "open")
    with pytest.raises(SecretError):
        Secret("credential", "s").read({"CREDENTIALS_DIRECTORY": str(credentials)})


def test_a_neighbour_of_the_credentials_directory_is_not_trusted(site):
    (site.root / "cred").mkdir()
    (site.root / "cred-other").mkdir()
    path = site.secret("cred-other/s", b"s3cret", 0o644)
    with pytest.raises(SecretError):
        read_secret_file(path, {"CREDENTIALS_DIRECTORY": str(site.root / "cred")})


def test_a_credential_needs_a_service_manager():
    with pytest.raises(SecretError, match="CREDENTIALS_DIRECTORY"):
        Secret("credential", "s").read({})


def test_what_is_no_regular_file_is_refused_without_waiting(site):
    os.mkfifo(site.root / "pipe", 0o600)
    with pytest.raises(SecretError, match="regular"):
        read_secret_file(site.root / "pipe", {})
    with pytest.raises(SecretError, match="regular"):
        read_secret_file(site.root, {})


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * (MAX_SECRET_BYTES + 1)])
def test_a_file_of_no_use_is_refused(site, content):
    with pytest.raises(SecretError):
        read_secret_file(site.secret("s", content), {})


@pytest.mark.parametrize("environ", [{}, {"S": ""}])
def test_a_variable_must_hold_something(environ):
    with pytest.raises(SecretError, match="not set"):
        Secret("env", "S").read(environ)


def test_a_secret_is_read_anew_each_time(site):
    secret = Secret("file", str(site.secret("s", b"one")))
    assert secret.read({}) == b"one"
    site.secret("s", b"two")
    assert secret.read({}) == b"two"


def test_a_product_without_a_place_for_its_secret_says_so():
    with pytest.raises(ValueError, match="no secret"):
        _ = Product(key="p").secret


def test_problems_tell_the_line_and_never_the_secret(site):
    site.secret("s", b"hunter2", 0o644)
    problem = site.problem('[[product]]\nkey = "p"\nsecret_file = "s"\n')
    assert (problem.line, problem.key) == (3, "product[0].secret_file")
    assert "hunter2" not in str(problem)


def test_a_secret_that_is_no_text_is_refused(site):
    site.secret("s", b"\xff\xfe")
    assert "UTF-8" in site.problem('[[product]]\nkey = "p"\nsecret_file = "s"\n').found


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("secret_env", "hunter 2"),
        ("secret_credential", "../hunter2"),
        ("secret_file", "hunter2\\nmore"),
        ("secret_file", ""),
        ("secret", "hunter2"),
        ("secret_file", "hunter2"),
    ],
)
def test_a_secret_written_in_the_place_of_its_name_is_not_repeated(site, key, value):
    for problem in site.problems(f'[[product]]\nkey = "p"\n{key} = "{value}"\n'):
        assert "hunter" not in str(problem)


def test_an_inline_secret_is_told_where_it_belongs(site):
    problems = site.problems('[[product]]\nkey = "p"\nsecret = "hunter2"\n')
    assert problems[-1].expected.startswith("secret_")
