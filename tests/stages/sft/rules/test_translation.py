"""Pairs in one record, and bilingual pages."""

KO = "이 함수는 목록의 원소를 3개까지 돌려주며, 원소가 없으면 예외를 일으킵니다."
EN = "This function returns up to 3 elements of the list, and raises an exception if there are none."
PAGE = "\n\n".join(
    [
        "맷돌은 곡식을 가는 도구로 두 돌로 이루어져 있습니다.", "A millstone is a tool for grinding grain, made of two stones.",
        "위짝은 일 분에 40바퀴를 돌 수 있습니다.", "The runner can make 40 turns in a single minute.",
        "아래짝은 1995년부터 중쇠를 붙들고 있습니다.", "The bedstone has held the iron pin since 1995.",
    ]
)  # fmt: skip


def test_both_directions_from_one_record(mined, said):
    seen = set()
    for seed in range(12):
        rows, drops = mined("translation", KO, seed=seed, lang="ko", meta=[{"key": "en", "value": EN}])
        question, answer = said(rows[0])
        assert not drops and {answer, *(t for t in (KO, EN) if t in question)} == {KO, EN}
        assert (rows[0]["span_start"] == 0) == (answer == KO)
        seen.add(answer)
    assert seen == {KO, EN}


def test_english_record(mined, said):
    rows, _ = mined("translation", EN, lang="en", meta=[{"key": "ko", "value": KO}])
    assert "ranslate" in said(rows[0])[0] and rows[0]["confidence"] == 0.8


def test_bilingual_page(mined, said):
    rows, _ = mined("translation", PAGE, lang="ko")
    assert len(rows) == 3 and all(row["confidence"] == 0.6 and row["span_start"] is not None for row in rows)
    pairs = [PAGE.split("\n\n")[n : n + 2] for n in (0, 2, 4)]
    for row in rows:
        question, answer = said(row)
        assert any(answer in pair and pair[1 - pair.index(answer)] in question for pair in pairs)


def test_two_pairs_are_no_bilingual_page(mined):
    assert mined("translation", "\n\n".join(PAGE.split("\n\n")[:4]), lang="ko") == ([], [])


def test_pairs_that_disagree(mined):
    for other in (EN.replace("3", "5"), EN * 4):
        rows, drops = mined("translation", KO, lang="ko", meta=[{"key": "en", "value": other}])
        assert not rows and drops == ["translation.unclear"]


def test_a_page_that_is_only_half_translated(mined):
    strange = "\n\n".join(
        f"이것은 아직 옮기지 않은 쪽의 {word} 문단입니다.\n\nThe next setting lets you choose another thing entirely."
        for word in ("첫째", "둘째", "셋째", "넷째")
    )
    assert mined("translation", strange, lang="ko") == ([], [])
