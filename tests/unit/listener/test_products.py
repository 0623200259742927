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


def test_another_configurations_products_are_held_and_a_changed_secret_beside_the_one_before(
    tmp_path, secrets
):
    def product(key, name, content):
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o600)
        return Product(key=key, secret_file=str(path))

    held = secrets
    secrets.take_up(ProductSecrets([product(KEY, "a", b"new"), product("other", "b", b"its own")], {}))
    assert held == {KEY: (b"new", b"old"), "other": (b"its own",)}
    secrets.take_up(ProductSecrets([product("other", "b", b"its own")], {}))
    assert held == {"other": (b"its own",)}
