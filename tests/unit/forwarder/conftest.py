from __future__ import annotations

import pytest
from fakes.forwarding import PRODUCT
from fakes.upstream import Upstream


@pytest.fixture
def fake():
    with Upstream(products={PRODUCT: "s3cret"}) as upstream:
        yield upstream
