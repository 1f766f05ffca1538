"""Requests for a teacher."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def asked():
    """`asked(text, id=text, **more)` -> a Request with one user message."""
    from stages.models.teacher import Request

    return lambda text, **more: Request(more.pop("id", text), (("user", text),), **more)
