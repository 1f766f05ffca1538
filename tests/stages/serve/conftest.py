"""A small model that answers."""

import pytest


@pytest.fixture(scope="session")
def answering(base_store, sft_store):
    """A generator over the tiny Llama with its adapter."""
    from stages.serve.answering import loaded

    return loaded([base_store.path, sft_store.path], threads=1, batch=4)
