import pytest

from pipeline.errors import OptionError


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# list\nfoo\n나쁜말\n", "utf-8")
    return [str(path)]


def test_whole_words_and_particles(reasons, words):
    texts = ["food is fine", "A FOO!", "나쁜말을 한다", "안나쁜말", "foo는"]
    high = "bad_words.count.high"
    assert reasons("bad_words", texts, files=words) == [None, high, high, None, high]


def test_anywhere(reasons, words):
    assert reasons("bad_words", ["food"], files=words, anywhere=True) == ["bad_words.count.high"]


def test_a_file_is_needed_and_must_be_there(judge, tmp_path):
    with pytest.raises(OptionError, match="files"):
        judge("bad_words", ["x"])
    with pytest.raises(OptionError, match="cannot read"):
        judge("bad_words", ["x"], files=[str(tmp_path / "none.txt")])


def test_the_list_counts_by_content(tmp_path):
    from stages.quality import Quality

    def key(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return Quality.build({"filters": [{"bad_words": {"files": [str(tmp_path / name)]}}]}, "quality").fingerprint()

    assert key("a.txt", "foo") == key("b.txt", "foo") != key("c.txt", "bar")
