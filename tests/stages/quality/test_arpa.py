"""n-gram models from ARPA files, against probabilities reckoned by hand."""

import gzip
import math

import pytest

from pipeline.errors import OptionError
from stages.quality.arpa import read

MODEL = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-1.0\t<unk>
0\t<s>\t-0.5
-0.7\t</s>
-0.4\t맷돌\t-0.3
-0.6\tgrinds\t-0.2

\\2-grams:
-0.1\t<s> 맷돌
-0.2\t맷돌 grinds
-0.3\tgrinds </s>

\\end\\
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "m.arpa").write_text(MODEL, "utf-8")
    return str(tmp_path / "m.arpa")


@pytest.mark.parametrize(
    "words, wanted",
    [
        (["맷돌", "grinds"], -0.1 - 0.2 - 0.3),
        (["grinds"], (-0.5 - 0.6) - 0.3),
        (["맷돌"], -0.1 + (-0.3 - 0.7)),
        (["other", "맷돌"], (-0.5 - 1.0) + (0.0 - 0.4) + (-0.3 - 0.7)),
        ([], -0.5 - 0.7),
    ],
)
def test_probabilities_with_back_off(model, words, wanted):
    assert read(model).logp(words) == pytest.approx(wanted * math.log(10))


def test_gzip_and_what_is_no_model(tmp_path):
    with gzip.open(tmp_path / "m.arpa.gz", "wt", encoding="utf-8") as out:
        out.write(MODEL)
    assert read(str(tmp_path / "m.arpa.gz")).order == 2
    for name, data in (
        ("a.arpa", b"mmap lm http://kheafield.com/code format version 5\x00\xff"),
        ("b.arpa", b"\\1-grams:\n-1.0\ta b\n"),
        ("c.arpa", b""),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(OptionError, match="lmplz"):
            read(str(tmp_path / name))
