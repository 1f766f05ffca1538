"""Span-level precision and recall on E-presidio-synth-v2, labelled by others."""

import json
import tarfile

import pytest

KINDS = {
    "EMAIL_ADDRESS": ("email",), "CREDIT_CARD": ("card",), "IBAN_CODE": ("iban",), "IP_ADDRESS": ("ip", "ip_private"),
    "PHONE_NUMBER": ("phone", "phone_service"), "US_SSN": ("us_ssn",),
}  # fmt: skip


@pytest.fixture(scope="module")
def judged(shared, find):
    with tarfile.open(shared / "E-presidio-synth-v2.tar.xz") as archive:
        name = next(member for member in archive.getnames() if member.endswith(".json"))
        rows = json.load(archive.extractfile(name))
    found = [[] for _ in rows]
    for finding in find([row["full_text"] for row in rows]):
        found[finding.item].append(finding)
    return list(zip(rows, found))


@pytest.mark.parametrize("label", KINDS)
def test_precision_and_recall(judged, label):
    gold = hit = predicted = right = 0
    for row, found in judged:
        spans = [(s["start_position"], s["end_position"]) for s in row["spans"] if s["entity_type"] == label]
        ours = [(f.start, f.end) for f in found if f.entity in KINDS[label]]
        gold, predicted = gold + len(spans), predicted + len(ours)
        hit += sum(any(a <= start and b >= end for a, b in ours) for start, end in spans)
        right += sum(any(a < end and b > start for start, end in spans) for a, b in ours)
    assert gold >= 14
    assert hit / gold >= 0.95 and right / predicted >= 0.95, (label, hit / gold, right / predicted)
