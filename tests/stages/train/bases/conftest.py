"""Tiny random models of the architectures labs have, by fixture."""

import shutil

import pytest

from tests.stages.train.bases.architectures import OTHERS, SHAPES, tiny_model

ALL = [*SHAPES, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


@pytest.fixture(params=ALL)
def architecture(request):
    """The prefix of a configuration class."""
    return request.param


@pytest.fixture(scope="session")
def made():
    """`made(architecture, **changes)` -> a tiny random model of that architecture, its configuration changed."""
    return tiny_model


@pytest.fixture(scope="module")
def folder_of(tiny_tokenizer, made, tmp_path_factory):
    """`folder_of(name)` -> the Hugging Face folder of a tiny random model with its tokenizer."""

    def make(name):
        folder = tmp_path_factory.mktemp("models") / name
        shutil.copytree(tiny_tokenizer.artefact(), folder)
        made(name).save_pretrained(folder)
        return folder

    return make
