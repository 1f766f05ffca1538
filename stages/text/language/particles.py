"""Words of Korean and English text, and Korean words without their particles.

Korean glues particles to nouns (`서울에서는`, `학교를`) and endings to verbs (`사용합니다`), so that the same name stands in a
passage in many forms. `stem` cuts what is certainly not part of the name. It knows no dictionary: a particle is cut only
where its form agrees with the syllable before it (은/는, 이/가, 을/를, 과/와, 으로/로 depend on a final consonant), which
keeps words such as `사이` or `회의` whole. No morphological analyser: those run at some 50 KB/s and this at some MB/s.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pipeline.unicode import normalised

WORD = re.compile(r"[가-힣]+|[A-Za-zÀ-ɏ]+(?:['’][A-Za-zÀ-ɏ]+)*|\d+(?:[.,]\d+)*|[぀-ヿ一-鿿]+|[Ѐ-ӿ]+")
"""One word: a run of Hangul, of Latin letters, a number with its inner points, or a run of kana/Han or Cyrillic."""

AFTER_CONSONANT = "은 이 을 과 으로 이나 이란 이라는 이라고 이라면 이며 이고 이든 이다 이었다 이에요 으로는 으로도 으로서 으로써 으로부터 아".split()
AFTER_VOWEL = "는 가 를 와 로 나 란 라는 라고 라면 며 든 였다 예요 로는 로도 로서 로써 로부터 야".split()
AFTER_ANY = (
    "의 에 도 만 들 께 에는 에도 에만 에서 에서는 에서도 에서만 에서의 에서부터 에게 에게는 에게도 에게서 께서 께서는 한테 한테서 까지 "
    "까지는 까지도 부터 부터는 보다 보다는 보다도 처럼 처럼은 만큼 만큼은 마다 마저 조차 밖에 뿐 뿐만 대로 만의 만은 만을 만이 하고 "
    "들은 들이 들을 들의 들도 들과 들에 들에게 에의 와의 과의 로의 으로의 와는 과는 와도 과도 이라도 라도 이나마 "
    "입니다 입니까 이라 인 인데 이지만 지만 이므로 므로 이어서 이자"
).split()
VERB_ENDINGS = (
    "합니다 합니까 하십시오 하세요 하시오 했습니다 하였습니다 하겠습니다 한다 했다 하였다 하는 하던 하여 하여야 해야 해서 해도 하면 하고 하며 "
    "하지 하지만 하게 하기 하려면 하려고 하므로 할 한 함 해 했던 했으며 했고 하거나 하도록 하세 하자 하니 하자면 하더라도 "
    "됩니다 됐습니다 되었습니다 되겠습니다 된다 됐다 되었다 되는 되던 되어 되어야 돼야 되면 되고 되며 되지 되지만 되게 되기 되므로 될 된 됨 돼 되도록 되거나 "
    "시킵니다 시킨다 시켰다 시키는 시켜 시키고 시키면 시킬 시킨 시키기"
).split()

_BY_LENGTH: dict[int, dict[str, str]] = {}
for _form, _kind in [
    *((f, "c") for f in AFTER_CONSONANT),
    *((f, "v") for f in AFTER_VOWEL),
    *((f, "a") for f in AFTER_ANY),
]:
    _BY_LENGTH.setdefault(len(_form), {})[_form] = _kind
_LENGTHS = sorted(_BY_LENGTH, reverse=True)
_ENDINGS = sorted(VERB_ENDINGS, key=len, reverse=True)

FUNCTION_KO = frozenset(
    "것 것은 것이 것을 것도 것으로 것입니다 것이다 수 때 때는 때에 때문 때문에 경우 경우에 경우에는 등 등을 등의 등이 및 또는 또한 그리고 그러나 하지만 그래서 "
    "따라서 그러므로 그런데 즉 만약 만일 이 그 저 이런 그런 저런 이것 그것 이것은 그것은 이를 그를 여기 거기 다음 다음과 같은 같이 같습니다 "
    "있다 있습니다 있는 있으며 있고 있을 있어 있어야 있었다 있었습니다 없다 없습니다 없는 없으며 없고 없을 없이 않다 않습니다 않는 않으며 않고 않을 않은 않아 "
    "아니다 아닙니다 아닌 아니라 아니며 대해 대한 대하여 대해서 위해 위한 위하여 위해서 통해 통한 통하여 따라 따른 따르면 의해 의한 관한 관해 "
    "하는 한다 합니다 하고 하며 하여 해서 하면 할 한 했다 했습니다 된다 됩니다 되는 되고 되어 되면 될 된 이다 입니다 이며 모두 모든 각 더 더욱 "
    "매우 아주 가장 잘 못 안 좀 꼭 바로 다시 이미 아직 항상 먼저 이후 이전 동안 중 내 외 간 위 아래 안에 앞 뒤 사이 네 예 아니요 아니오".split()
)
FUNCTION_EN = frozenset(
    "a an the and or but nor so yet if then else when while because as of at by for with about against between into through during "
    "before after above below to from up down in out on off over under again further once here there all any both each few more most "
    "other some such no not only own same than too very can will just should would could may might must shall do does did doing done "
    "is am are was were be been being have has had having i you he she it we they me him her us them my your his its our their this "
    "that these those who whom whose which what where why how also however therefore thus hence additionally moreover furthermore "
    "finally first second third next yes no please note it's don't doesn't isn't aren't can't won't you're they're we're i'm "
    "one two three get got make made use used using via per etc e.g i.e let's there's that's".split()
)


def fold(text: str) -> str:
    """NFKC (full-width digits and letters become plain), lower case, curly apostrophes straight."""
    return normalised("NFKC", text).lower().replace("’", "'")


def words(text: str) -> list[str]:
    """The words of `text` in order, as they stand."""
    return WORD.findall(text)


def is_hangul(word: str) -> bool:
    return bool(word) and "가" <= word[0] <= "힣"


def final_consonant(syllable: str) -> int:
    """Index of the final consonant of a Hangul syllable; 0: none, 8: ㄹ; -1 when it is no Hangul syllable."""
    code = ord(syllable) - 0xAC00
    return code % 28 if 0 <= code < 11172 else -1


def _agrees(form: str, kind: str, before: str) -> bool:
    final = final_consonant(before)
    if kind == "a" or final < 0:
        return True
    if form.startswith("로"):
        return final in (0, 8)
    return (final != 0) == (kind == "c")


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """A Korean word without its particle or verbal ending; a word of another script in lower case.

    At least two syllables remain, or one where a form of two or more syllables is cut. Examples: `서울에서는` -> `서울`,
    `사용합니다` -> `사용`, `사이` -> `사이`, `Linux` -> `linux`.
    """
    if not is_hangul(word):
        return fold(word).removesuffix("'s")
    for ending in _ENDINGS:
        if len(word) >= len(ending) + 2 and word.endswith(ending):
            return word[: -len(ending)]
    for length in _LENGTHS:
        left = len(word) - length
        if left < (1 if length >= 2 else 2):
            continue
        form = word[left:]
        kind = _BY_LENGTH[length].get(form)
        if kind and _agrees(form, kind, word[left - 1]):
            return word[:left]
    return word


def particle(word: str) -> str:
    """What `stem` would cut from a Korean word: its particle or ending, or nothing."""
    return word[len(stem(word)) :] if is_hangul(word) else ""


def is_function(word: str) -> bool:
    """Whether the word carries grammar rather than content (both languages)."""
    if is_hangul(word):  # a particle stands alone behind digits and Latin letters: `B5까지`
        return word in FUNCTION_KO or len(word) == 1 or word in _BY_LENGTH.get(len(word), ())
    return fold(word) in FUNCTION_EN or (len(word) == 1 and not word.isdigit())


def josa(word: str, pair: str) -> str:
    """`word` with the fitting one of a pair of particles: `josa("서울", "을/를")` -> `서울을`, `josa("학교", "으로/로")` -> `학교로`.

    Digits and Latin letters take the form of their Korean reading where it is certain, else the vowel form.
    """
    closed, open_ = pair.split("/")
    last = word.rstrip(")]}\"'”’」』 .")[-1:] or word[-1:]
    if last and "0" <= last <= "9":
        final = {"0": 21, "1": 8, "3": 16, "6": 1, "7": 8, "8": 8}.get(last, 0)
    elif last and last.isascii() and last.isalpha():
        final = {"l": 8, "m": 16, "n": 4, "r": 8}.get(last.lower(), 0)
    else:
        final = max(final_consonant(last), 0) if last else 0
    if closed == "으로":
        return word + ("로" if final in (0, 8) else "으로")
    return word + (closed if final else open_)
