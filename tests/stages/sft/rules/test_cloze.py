"""A term blanked out where it occurs."""

from stages.sft.rules.cloze import BLANK

KO = "맷돌의 위짝은 돌아가는 돌이다. 위짝에는 구멍이 있어 곡식을 넣을 수 있다. 위짝이 흔들리면 중쇠를 살핀다. 중쇠가 닳으면 새것으로 바꾼다. 새 중쇠를 박은 뒤에는 위짝을 다시 올리고 빈 채로 열 바퀴를 돌려 본다. 소리가 고르면 곡식을 넣고, 소리가 고르지 않으면 위짝을 내려서 중쇠가 바로 섰는지 다시 살핀다."
EN = "The runner is the stone that turns. The runner has an eye for the grain. When the runner wobbles, look at the pin. A worn pin is replaced with a new one, and then the runner is set back in its place."


def test_korean_blank_keeps_the_particle(mined, said, fact):
    rows, drops = mined("cloze", KO, lang="ko")
    question, answer = said(rows[0])
    assert not drops and answer in ("위짝", "중쇠") and question.count(BLANK) >= 1
    shown = question.replace(BLANK, answer)
    assert KO in shown and question.count(answer) >= 1
    assert rows[0]["span_end"] - rows[0]["span_start"] == len(answer) and fact(rows[0], "task") == "cloze"


def test_english(mined, said):
    rows, _ = mined("cloze", EN, lang="en")
    question, answer = said(rows[0])
    assert answer == "runner" and EN in question.replace(BLANK, answer)


def test_no_term_stands_twice(mined):
    assert mined(
        "cloze",
        "Every sentence speaks of something else. Birds sing loudly. Rivers flow south. Winters bring heavy snowfall, summers warm rain.",
        lang="en",
    ) == ([], [])
