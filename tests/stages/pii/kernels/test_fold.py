"""Folding: compiled and plain agree, spans cover the original whole, nothing is read past a text's end."""

import unicodedata

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.pii.engines.reference import plain

SIGNS = st.text(
    alphabet="01-\na가각ㄱ\u1100\u1112\u1161\u1175\u11a8\u11c2\u11a7０９＠－　\u00a0\u00ad\u200b\u2013\u2212\u0663\u06f7\U0001d7d9\ufeff\u202eé漢\U0001f600",
    max_size=24,
)


def folded(texts: list[str]):
    from stages.pii.kernels.fold import fold, foldable

    data = np.frombuffer("".join(texts).encode(), np.uint8)
    offsets = np.cumsum([0, *(len(text.encode()) for text in texts)]).astype(np.int64)
    items = foldable(data, offsets)
    return data, offsets, items, fold(data, offsets, items)


@settings(deadline=None, max_examples=300)
@given(st.lists(SIGNS, min_size=1, max_size=4))
def test_agrees_with_plain_python(texts):
    data, offsets, items, (out, bounds, begins, ends) = folded(texts)
    for k, item in enumerate(items):
        text = texts[item]
        wanted, starts, stops = plain(text)
        assert bytes(out[bounds[k] : bounds[k + 1]]).decode() == wanted
        at = bounds[k]
        for sign, start, stop in zip(wanted, starts, stops):
            assert begins[at] - offsets[item] == len(text[:start].encode())
            assert ends[at] - offsets[item] == len(text[:stop].encode())
            at += len(sign.encode())
    for item in set(range(len(texts))) - set(items.tolist()):
        assert plain(texts[item])[0] == texts[item]


def test_decomposed_hangul_is_composed():
    text = unicodedata.normalize("NFD", "서울 강남구 값")
    assert plain(text)[0] == "서울 강남구 값"
    _, _, items, (out, *_rest) = folded([text])
    assert bytes(out).decode() == "서울 강남구 값"


def test_decomposed_labels_and_addresses_are_read(find):
    text = unicodedata.normalize("NFD", "여권번호 M12345678, 서울 강남구 테헤란로 152에")
    assert {f.entity for f in find([text])} == {"kr_passport", "kr_address"}


def test_a_span_covers_hidden_signs(find):
    text = "전화 010\u200b-12\u00ad34-5678\u200b."
    (finding,) = find([text])
    assert text[finding.start : finding.end] == "010\u200b-12\u00ad34-5678"


def test_broken_utf8_is_survived(find):
    import pyarrow as pa

    from stages.pii.detect import detect

    pieces = [b"\xef\xbc", b"\xe1\x84\x92\xe1", b"\xf0\x9d\x9f", b"\xff010-1234-5678\xe2\x80", b"\xea\xb0"]
    offsets = pa.py_buffer(np.cumsum([0, *map(len, pieces)]).astype(np.int64))
    broken = pa.Array.from_buffers(pa.large_string(), len(pieces), [None, offsets, pa.py_buffer(b"".join(pieces))])
    assert [f.item for f in detect(broken, frozenset(["phone"]))] == [3]
