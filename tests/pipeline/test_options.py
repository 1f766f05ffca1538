"""The options object: validated with a suggestion, fingerprinted by what it means."""

import os
from typing import Annotated

import pytest

from pipeline import flags, options
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


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_that_stays_the_same_is_read_once(tmp_path, monkeypatch, folder):
    """A key is asked for once a shard, and a model may be as large as many of them."""
    target = tmp_path / "model" / "weights"
    target.parent.mkdir()
    target.write_text("weights")
    read = []
    real = options._file_hash
    monkeypatch.setattr(options, "_file_hash", lambda path: read.append(path) or real(path))
    named = Sample(model=str(target.parent if folder else target))
    before = {named.fingerprint() for _ in range(5)}
    assert read == [target]
    target.write_text("changed")
    os.utime(target, ns=(1, 1))  # a disk may keep time in steps too large for a test
    assert named.fingerprint() not in before and len(read) == 2


def test_a_folder_counts_by_its_names_and_bytes(tmp_path):
    for name, inside in (("x", "a.txt"), ("y", "b.txt")):
        (tmp_path / name).mkdir()
        (tmp_path / name / inside).write_text("same")
    assert content_hash(tmp_path / "x") != content_hash(tmp_path / "y")


@pytest.mark.parametrize(
    "words", ["no,007,2026-01-01", "no, 007 , 2026-01-01", "[no, '007', x]", "12345678901234567890", "2026-13-45"]
)
def test_words_of_a_flag_are_words(words):
    """YAML reads some of them as truth values, numbers, dates and no date at all."""
    kinds = flags.values(Sample, {"opt_kinds": (words,)})["kinds"]
    if words.startswith("["):
        assert kinds == [False, "007", "x"], "what is written as YAML is YAML"
    else:
        assert Sample(kinds=kinds).kinds == tuple(part.strip() for part in words.split(","))
    with pytest.raises(OptionError, match="--words '2026-13-45' is not readable"):
        flags.values(Sample, {"opt_words": "2026-13-45"})


@pytest.mark.parametrize(
    "given, items",
    [
        ("https://x.example/a,b", ["https://x.example/a,b"]),
        ("https://x.example/a,b, s3://bucket/c", ["https://x.example/a,b", "s3://bucket/c"]),
        ("mix.by=[lang, meta.part]", ["mix.by=[lang, meta.part]"]),
        ("mix.weights={ko: 1, en: [2, 3]},seed=3", ["mix.weights={ko: 1, en: [2, 3]}", "seed=3"]),
        ("a],b", ["a]", "b"]),
    ],
)
def test_a_comma_in_an_address_or_in_brackets_parts_nothing(given, items):
    """`forget --url` would have taken down another page."""
    assert flags.values(Sample, {"opt_kinds": (given,)})["kinds"] == items


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


def test_options_of_a_group_are_flags_and_dotted_names():
    found = {option.opts[0]: option for option in flags.options_of(Sample)}
    assert "How alike." in found["--inner.threshold"].help and "[default: 0.8]" in found["--inner.threshold"].help
    given = flags.values(Sample, {found["--inner.threshold"].name: "0.5", "opt_words": "7"})
    assert given == {"inner.threshold": 0.5, "words": 7}
    assert Sample.build(given, "sample") == Sample(words=7, inner=Inner(threshold=0.5))
    assert flags.flat({"inner": {"threshold": 0.5}, "words": 7}) == given


def test_an_option_is_given_once_by_itself_or_in_its_group():
    with pytest.raises(OptionError, match="'inner.threshold' is given twice"):
        Sample.build({"inner": {"threshold": 0.5}, "inner.threshold": 0.6}, "sample")
    with pytest.raises(OptionError, match="no option 'inner.treshold'") as fault:
        Sample.build({"inner.treshold": 0.6}, "sample")
    assert "did you mean 'threshold'" in str(fault.value)
    with pytest.raises(OptionError, match="no option 'outer'"):
        Sample.build({"outer.threshold": 0.6}, "sample")
