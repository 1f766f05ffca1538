"""Which script a letter belongs to, and which scripts a language is written in.

Scripts come from the first word of a character's Unicode name, which is its script for every letter that has one. A language is held
to the scripts its Wikipedia is written in (the labels of lid.176); what is not listed may stand in any script.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np

from stages.text.characters import CODE_POINTS

SCRIPTS = (
    "LATIN HANGUL CJK KANA CYRILLIC ARABIC DEVANAGARI BENGALI HEBREW ETHIOPIC CANADIAN TIFINAGH GREEK ARMENIAN GEORGIAN THAI LAO KHMER "
    "MYANMAR TIBETAN SINHALA TAMIL TELUGU KANNADA MALAYALAM GUJARATI GURMUKHI ORIYA THAANA CHEROKEE YI NKO BOPOMOFO OL MONGOLIAN SYRIAC VAI "
    "OTHER"
).split()
"""Number n + 1 in the table; 0 is no letter of a script."""
LATIN, HANGUL, HAN, KANA = range(4)
OTHER = len(SCRIPTS) - 1
OWNERS = dict(
    pair.split(":")
    for pair in (
        "HANGUL:ko KANA:ja GREEK:el ARMENIAN:hy GEORGIAN:ka THAI:th LAO:lo KHMER:km MYANMAR:my TIBETAN:bo SINHALA:si TAMIL:ta TELUGU:te "
        "KANNADA:kn MALAYALAM:ml GUJARATI:gu GURMUKHI:pa ORIYA:or THAANA:dv CHEROKEE:chr YI:ii NKO:nqo BOPOMOFO:zh OL:sat MONGOLIAN:mn VAI:vai"
    ).split()
)
"""The language that nearly all of a script's texts are written in, where there is one."""
_WRITTEN = {
    "HANGUL": "ko", "CJK": "zh ja wuu yue", "KANA": "ja", "BOPOMOFO": "zh", "GREEK": "el grc", "ARMENIAN": "hy hyw", "GEORGIAN": "ka xmf", "THAI": "th",
    "LAO": "lo", "KHMER": "km", "MYANMAR": "my", "TIBETAN": "bo dz", "SINHALA": "si", "TAMIL": "ta", "TELUGU": "te", "KANNADA": "kn", "MALAYALAM": "ml",
    "GUJARATI": "gu", "GURMUKHI": "pa", "ORIYA": "or", "THAANA": "dv", "CHEROKEE": "chr", "YI": "ii", "NKO": "nqo", "ETHIOPIC": "am ti", "HEBREW": "he yi",
    "BENGALI": "as bn bpy", "DEVANAGARI": "bh dty gom hi hif mai mr ne new sa", "MONGOLIAN": "mn", "SYRIAC": "arc",
    "CYRILLIC": "av az ba be bg bs bxr ce cv kk krc ku kv ky lez mhr mk mn mrj myv os ro ru rue sah sh sr tg tk tt tyv uk uz xal",
    "ARABIC": "ar arz az azb ckb fa kk ku ky lrc ms mzn pa pnb ps sd tg tk tt ug ur uz",
    "LATIN": (
        "af als an ast az bar bcl br bs ca cbk ceb co cs cy da de diq dsb eml en eo es et eu fi fr frr fy ga gd gl gn gom gv hif hr hsb ht hu ia id ie "
        "ilo io is it jbo jv kk ku kw la lb li lmo lt lv mg min ms mt mwl nah nap nds nl nn no oc pam pfl pl pms pt qu rm ro sc scn sco sh sk sl so sq sr "
        "su sv sw tg tk tl tr tt ug uz vec vep vi vls vo wa war yo"
    ),
}  # fmt: skip
UPPER, LOWER = 64, 128
"""Bits of a table entry: a letter in capitals, and one in small letters."""


@cache
def written() -> dict[str, frozenset[int]]:
    """Language (as `language.code` gives it) -> numbers of its scripts in SCRIPTS."""
    found: dict[str, set[int]] = {}
    for script, langs in _WRITTEN.items():
        for lang in langs.split():
            found.setdefault(lang, set()).add(SCRIPTS.index(script))
    return {lang: frozenset(numbers) for lang, numbers in found.items()}


@cache
def scripts() -> np.ndarray:
    """Per code point: 0, or the script's index in SCRIPTS plus 1, and the bits UPPER and LOWER. uint8, read-only."""
    table = np.zeros(CODE_POINTS, np.uint8)
    numbers = {name: number + 1 for number, name in enumerate(SCRIPTS)} | {"HIRAGANA": KANA + 1, "KATAKANA": KANA + 1}
    for first, last, script in (
        (0x3400, 0x4DBF, HAN),
        (0x4E00, 0x9FFF, HAN),
        (0xAC00, 0xD7A3, HANGUL),
        (0xF900, 0xFAFF, HAN),
        (0x20000, 0x323AF, HAN),
    ):
        table[first : last + 1] = script + 1
    for point in np.flatnonzero(table[:0x20000] == 0).tolist():
        char = chr(point)
        if not char.isalpha():
            continue
        words = unicodedata.name(char, "").split()
        word = words[1] if len(words) > 1 and words[0] in ("FULLWIDTH", "HALFWIDTH") else words[0] if words else ""
        if word in (
            "MODIFIER",
            "MATHEMATICAL",
            "DOUBLE-STRUCK",
            "SCRIPT",
            "BLACK-LETTER",
            "FEMININE",
            "MASCULINE",
            "MICRO",
            "OHM",
            "KELVIN",
            "ANGSTROM",
        ):
            continue  # letters of signs
        table[point] = numbers.get(word, OTHER + 1) | (UPPER if char.isupper() else LOWER if char.islower() else 0)
    table.flags.writeable = False
    return table
