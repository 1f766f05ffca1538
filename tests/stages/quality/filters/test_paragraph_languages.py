EN = "This is a paragraph in plain English about the weather of yesterday."
KO = "어제 날씨에 대해 우리말로 길게 쓴 문단이며 읽는 데 어려움이 없다."
DE = "Das ist ein deutscher Absatz über das Wetter von gestern und heute."


def test_a_document_in_two_languages(reasons):
    texts = [KO + "\n\n" + KO, f"{KO}\n{EN}\n{EN}", f"{EN}\n{KO}"]
    assert reasons("paragraph_languages", texts, lang="ko") == [
        None,
        "paragraph_languages.other.high",
        "paragraph_languages.other.high",
    ]
    assert reasons("paragraph_languages", texts, lang="ko", max_other=0.9) == [None, None, None]


def test_without_a_language_most_letters_decide(judge):
    work = judge("paragraph_languages", [f"{EN}\n{EN}\n{DE}"])
    assert 0.3 < work.ledger["paragraph_languages.other"][0].as_py() < 0.4 and work.ledger["reason"][0].as_py() is None


def test_too_many_languages(reasons):
    assert reasons("paragraph_languages", [f"{EN}\n{KO}\n{DE}"], max_other=None, max_languages=2) == [
        "paragraph_languages.languages.high"
    ]


def test_short_and_unsure_paragraphs_do_not_count(reasons):
    assert (
        reasons("paragraph_languages", [f"{KO}\nOK\nGo to top\n12345 67890 12345 67890", "OK", "123"], lang="ko")
        == [None] * 3
    )


def test_every_paragraph_with_its_span(judge):
    text = f"  {EN}\nshort\n\n{KO}"
    rows = judge("paragraph_languages", [text, "x"], column="paragraphs", max_other=None).kept["paragraphs"].to_pylist()
    assert [(row["lang"], text[row["start"] : row["end"]]) for row in rows[0]] == [("en", EN), ("ko", KO)] and rows[
        1
    ] == []
    assert all(row["score"] > 0.65 for row in rows[0])
