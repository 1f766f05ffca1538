"""Recall and false positives on ten thousand seeded Korean sentences that share nothing with the detector's tables."""

from collections import Counter

import pytest

SENTENCES = 5_000
PATTERNED = {
    "rrn",
    "rrn late",
    "rrn bare",
    "frn",
    "frn late",
    "licence",
    "business",
    "business bare",
    "corporation",
    "card",
    "card bare",
    "mobile",
    "landline",
    "mail",
    "mail spelled",
    "mail hangul",
    "mac",
    "host",
    "host six",
    "road",
    "lot",
}


def grouped(find, sentences, **options):
    found = [[] for _ in sentences]
    for finding in find([s.text for s in sentences], **options):
        found[finding.item].append(finding)
    return found


@pytest.fixture(scope="module")
def positives(korean, find):
    source = korean(2026)
    sentences = [source.positive() for _ in range(SENTENCES)]
    return list(zip(sentences, grouped(find, sentences)))


def test_recall_of_checksummed_and_patterned_ids(positives):
    made, hit = Counter(), Counter()
    for sentence, found in positives:
        ((start, end, entity),) = sentence.spans
        made[sentence.maker] += 1
        hit[sentence.maker] += any(f.entity == entity and f.start <= start and f.end >= end for f in found)
    assert sum(made.values()) == SENTENCES and len(made) == 29
    rates = {maker: hit[maker] / made[maker] for maker in made}
    assert min(rates[maker] for maker in PATTERNED) >= 0.99, rates
    assert min(rates.values()) >= 0.99, rates


def test_spans_are_exact(positives):
    exact = sum(any((f.start, f.end) == s.spans[0][:2] for f in found) for s, found in positives)
    assert exact >= 0.99 * SENTENCES


def test_nothing_else_is_found_in_them(positives):
    extra = [s.text for s, found in positives if any(f.end <= s.spans[0][0] or f.start >= s.spans[0][1] for f in found)]
    assert len(extra) <= 0.002 * SENTENCES, extra[:10]


def test_false_positives_on_hard_negatives(korean, find):
    source = korean(77)
    sentences = [source.negative() for _ in range(SENTENCES)]
    assert len({s.maker for s in sentences}) >= 30
    wrong = [
        (s.maker, s.text)
        for s, found in zip(sentences, grouped(find, sentences))
        if any(f.entity != "phone_service" for f in found)
    ]
    assert len(wrong) <= 0.01 * SENTENCES, wrong[:20]
    assert max(Counter(maker for maker, _ in wrong).values(), default=0) <= 0.005 * SENTENCES


def test_hotlines_are_told_from_the_phones_of_persons(korean, find):
    source = korean(3)
    hotlines = [s for s in (source.negative() for _ in range(2_000)) if s.maker == "hotline"]
    kinds = {f.entity for found in grouped(find, hotlines) for f in found}
    assert hotlines and kinds == {"phone_service"}


def test_what_labels_bring(korean, find):
    """Numbers that no form betrays: without their label almost none is found, with it all are."""
    source = korean(8)
    labelled = [
        s
        for s in (source.positive() for _ in range(4_000))
        if s.maker in ("account", "licence bare", "business bare", "passport old", "health")
    ]
    bare = [s.text[slice(*s.spans[0][:2])] for s in labelled]
    with_label = sum(bool(found) for found in grouped(find, labelled)) / len(labelled)
    alone = {f.item for f in find(bare)}
    assert with_label >= 0.99 and len(alone) / len(bare) <= 0.05
