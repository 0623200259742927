from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from collector.config.model import Product
from collector.errors import SecretError
from collector.listener.products import ProductSecrets

KEY = "a32e6578-17b7-11e4-930a-bc764e1c05e4"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "product.secret"
    path.write_bytes(b"old")
    path.chmod(0o600)
    return path


@pytest.fixture
def secrets(file):
    return ProductSecrets([Product(key=KEY, secret_file=str(file))], {})


def test_a_rotated_secret_is_taken_beside_the_one_before_it(file, secrets):
    assert secrets[KEY] == (b"old",)
    file.write_bytes(b"new")
    secrets.refresh()
    assert secrets[KEY] == (b"new", b"old")
    secrets.refresh()
    assert secrets[KEY] == (b"new", b"old")


def test_a_secret_that_cannot_be_read_any_more_stays_and_is_told_once(file, secrets):
    file.unlink()
    with capture_logs() as logs:
        secrets.refresh()
        secrets.refresh()
    assert secrets[KEY] == (b"old",)
    assert [entry["event"] for entry in logs] == ["product_key_unreadable"]


def test_without_its_secret_nothing_starts(file):
    file.unlink()
    with pytest.raises(SecretError):
        ProductSecrets([Product(key=KEY, secret_file=str(file))], {})


def test_the_next_secret_is_taken_as_soon_as_it_is_there(file):
    following = file.with_name("next.secret")
    secrets = ProductSecrets([Product(key=KEY, secret_file=str(file), next_secret_file=str(following))], {})
    assert secrets[KEY] == (b"old",)
    following.touch(mode=0o600)
    following.write_bytes(b"next")
    secrets.refresh()
    assert secrets[KEY] == (b"old", b"next")
    file.write_bytes(b"next")
    following.unlink()
    secrets.refresh()
    assert secrets[KEY] == (b"next", b"old")
