"""The options object: validated with a suggestion, fingerprinted by what it means."""

from typing import Annotated

import pytest

from pipeline.errors import OptionError
from pipeline.options import CONTENT, SECRET, UNKEYED, Options, content_hash


class Inner(Options):
    threshold: float = 0.8
    "How alike."


class Sample(Options):
    """A stage-like thing."""

    words: int = 50
    "Fewest words."
    model: Annotated[str | None, CONTENT] = None
    "A model file."
    key_env: Annotated[str | None, SECRET] = None
    "Name of the variable that holds the key."
    workers: Annotated[int, UNKEYED] = 1
    "Tasks in flight."
    inner: Inner = Inner()
    "Nested."
    kinds: tuple[str, ...] = ("faq",)
    "Kinds."


def test_a_value_counts_and_an_operational_one_does_not():
    base = Sample().fingerprint()
    assert Sample(words=50).fingerprint() == base == Sample(workers=7, key_env="OTHER").fingerprint()
    assert (
        len(
            {
                base,
                Sample(words=51).fingerprint(),
                Sample(inner=Inner(threshold=0.9)).fingerprint(),
                Sample(kinds=("dl",)).fingerprint(),
            }
        )
        == 4
    )
    assert Sample().fingerprint("parent") != base


def test_a_file_counts_by_content(tmp_path):
    (tmp_path / "a").write_text("weights")
    (tmp_path / "b").write_text("weights")
    a, b = Sample(model=str(tmp_path / "a")), Sample(model=str(tmp_path / "b"))
    assert a.fingerprint() == b.fingerprint() != Sample().fingerprint()
    (tmp_path / "b").write_text("others")
    assert a.fingerprint() != b.fingerprint()
    with pytest.raises(OptionError, match="cannot read"):
        Sample(model=str(tmp_path / "absent")).fingerprint()


def test_a_folder_counts_by_its_names_and_bytes(tmp_path):
    for name, inside in (("x", "a.txt"), ("y", "b.txt")):
        (tmp_path / name).mkdir()
        (tmp_path / name / inside).write_text("same")
    assert content_hash(tmp_path / "x") != content_hash(tmp_path / "y")


def test_the_class_version_counts():
    before = Sample().fingerprint()
    Sample.version = 2
    try:
        assert Sample().fingerprint() != before
    finally:
        Sample.version = 1


def test_a_mistyped_word_is_answered():
    with pytest.raises(OptionError, match="did you mean 'words'"):
        Sample.build({"wrods": 3}, "sample")
    with pytest.raises(OptionError, match="words") as fault:
        Sample.build({"words": "many"}, "sample")
    assert fault.value.exit_code == 2 and "explain sample" in fault.value.hint


def test_options_are_frozen_and_documented():
    with pytest.raises(Exception, match="frozen"):
        Sample().words = 3
    assert Sample.model_fields["words"].description == "Fewest words."
