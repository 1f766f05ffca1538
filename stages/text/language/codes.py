"""Codes of languages as rows carry them in `lang`, and which one is meant by another word."""

from __future__ import annotations

import re

from pipeline.errors import did_you_mean
from stages.text.language.identify import ISO_639_1
from stages.text.language.writing import OWNERS, written

NAMES = {
    "ko": "korean 한국어 한글 kr", "en": "english 영어 eng us uk-english", "ja": "japanese 日本語 일본어 jp", "zh": "chinese mandarin 中文 汉语 중국어 cn",
    "de": "german deutsch 독일어", "fr": "french français francais 프랑스어 불어", "es": "spanish español espanol castellano 스페인어", "it": "italian italiano 이탈리아어",
    "pt": "portuguese português portugues 포르투갈어", "ru": "russian русский 러시아어", "ar": "arabic العربية 아랍어", "hi": "hindi हिन्दी 힌디어",
    "vi": "vietnamese 베트남어", "th": "thai ไทย 태국어", "id": "indonesian bahasa 인도네시아어", "ms": "malay", "tr": "turkish türkçe", "pl": "polish polski",
    "nl": "dutch nederlands", "sv": "swedish svenska", "da": "danish dansk", "no": "norwegian norsk", "fi": "finnish suomi", "cs": "czech čeština",
    "el": "greek ελληνικά", "he": "hebrew עברית", "hu": "hungarian magyar", "ro": "romanian română", "uk": "ukrainian українська", "fa": "persian farsi فارسی",
    "bn": "bengali বাংলা", "ta": "tamil தமிழ்", "la": "latin", "ca": "catalan català", "mn": "mongolian 몽골어",
}  # fmt: skip
"""Words that people write for a language, codes of countries among them."""
_MEANT = {word: code for code, words in NAMES.items() for word in words.split()}


def known() -> list[str]:
    """Every code that the bundled model and the scripts give."""
    return sorted({*written(), *OWNERS.values(), "und"})


def fault_of(word: str, other_model: bool = False) -> str | None:
    """What is wrong with a language's code, and the hint; None where rows may carry it. With `other_model` any code of two or three
    letters may be, but for those that are given in two."""
    if word in known() or (
        other_model and re.fullmatch("[a-z]{2,3}", word) and word not in ISO_639_1 and word not in _MEANT
    ):
        return None
    small = word.strip().casefold()
    first = re.split("[-_ ]", small)[0]
    for tried in (small, first):
        meant = _MEANT.get(tried) or ISO_639_1.get(tried) or (tried if tried in known() else None)
        if meant:
            return f"{word!r} is no language's code: did you mean {meant!r}?"
    near = did_you_mean(small, known() if len(small) <= 3 else list(_MEANT))
    if near.startswith("did"):
        nearest = near.split("'")[1]
        return f"{word!r} is no language's code: did you mean {_MEANT.get(nearest, nearest)!r}?"
    return f"{word!r} is no language's code; write them as the model gives them: ko, en, ja, zh, de, ..."
