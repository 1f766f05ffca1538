"""The greedy choice of representatives against a plain loop, and the large-component path against the small one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.dedup.near import prefixjoin, representatives
from stages.text.minhash import jaccard, lsh
from stages.text.minhash import signatures as minhash
from stages.text.minhash.lsh import Banding
from stages.text.minhash.shingles import Shingling, shingles

HOW = Shingling("word", 1)
BANDING = Banding(18, 6)
WORDS = "a b c d e f g h i j k l".split()
BAGS = st.lists(st.sets(st.sampled_from(WORDS), max_size=12), min_size=1, max_size=14)


def measured(texts: list[str]) -> tuple[np.ndarray, jaccard.Sets]:
    pieces = [text.encode() for text in texts]
    data, offsets = np.frombuffer(b"".join(pieces), np.uint8), np.cumsum([0, *map(len, pieces)]).astype(np.int64)
    return minhash.compute_minhash(data, offsets, HOW, BANDING.permutations).values, jaccard.shingle_sets(
        data, offsets, HOW
    )


def plain(
    texts: list[str], fixed: list[bool], values: np.ndarray, threshold: float, within: bool
) -> tuple[list[int], list[float]]:
    """Every document against every kept one before it, with Python sets."""
    sets = [set(shingles(text, HOW)) for text in texts]
    floor = 0 if within else lsh.estimate_floor(threshold, BANDING.permutations)
    bands = values.reshape(len(texts), BANDING.bands, BANDING.rows)
    kept: list[int] = []
    chosen, score = list(range(len(texts))), [float("nan")] * len(texts)
    for doc, mine in enumerate(sets):
        for other in [] if fixed[doc] else kept:
            meet = (bands[doc] == bands[other]).all(axis=1).any() and (values[doc] == values[other]).mean() >= floor
            alike = len(mine & sets[other]) / len(mine if within else mine | sets[other]) if mine | sets[other] else 0.0
            if meet and alike >= threshold:
                chosen[doc], score[doc] = other, alike
                break
        if chosen[doc] == doc:
            kept.append(doc)
    return chosen, score


@settings(deadline=None, max_examples=150)
@given(bags=BAGS, threshold=st.sampled_from([0.5, 0.7, 0.8, 1.0]), within=st.booleans(), data=st.data())
def test_choice_equals_the_plain_loop_in_small_and_in_large_components(bags, threshold, within, data):
    texts = [" ".join(sorted(bag)) for bag in bags if bag] or ["a"]
    fixed = data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
    values, sets = measured(texts)
    expected_representative, expected_score = plain(texts, fixed, values, threshold, within)
    small = representatives.choose(np.array([0, len(texts)]), np.array(fixed), values, sets, BANDING, threshold, within)
    assert small.representative.tolist() == expected_representative
    np.testing.assert_array_equal(small.score, expected_score)

    size = data.draw(st.integers(1, 5))
    room = data.draw(st.integers(1, 4))
    large = prefixjoin.choose_large(
        chunker(values, sets, size), np.array(fixed), BANDING, threshold, within, most_hashes=30, most_docs=room
    )
    assert large.representative.tolist() == expected_representative
    np.testing.assert_array_equal(large.score, expected_score)


def chunker(values: np.ndarray, sets: jaccard.Sets, size: int):
    def chunks(start: int):
        for low in range(start, len(values), size):
            high = min(low + size, len(values))
            ends = sets.bounds[low : high + 1]
            yield prefixjoin.JoinChunk(
                low, values[low:high], jaccard.Sets(sets.hashes[ends[0] : ends[-1]], ends - ends[0])
            )

    return chunks


def test_components_do_not_see_each_other():
    texts = ["a b c d e", "a b c d e", "a b c d e", "a b c d e f g h"]
    values, sets = measured(texts)
    apart = representatives.choose(np.array([0, 2, 4]), np.zeros(4, bool), values, sets, BANDING, 0.8)
    assert apart.representative.tolist() == [0, 0, 2, 3]


def test_tally_counts_candidates_and_confirmed_pairs():
    texts = [
        " ".join(f"w{n}" for n in range(40)),
        " ".join(f"w{n}" for n in range(1, 41)),
        " ".join(f"w{n}" for n in range(6, 46)),
    ]
    values, sets = measured(texts)
    choice = representatives.choose(np.array([0, 3]), np.zeros(3, bool), values, sets, BANDING, 0.9)
    assert choice.representative.tolist() == [0, 0, 2]
    assert choice.score[1] == 39 / 41
    assert choice.tally[:, 1].sum() == 1


def test_small_buckets_join_what_may_match_and_large_ones_are_stars():
    values, _ = measured(["a b c d e f g h i j"] * 3 + ["a b c d e f g h i k", "x y z"])
    left, right = representatives.link_buckets(np.array([0, 4, 6]), np.array([0, 1, 2, 3, 3, 4]), values, BANDING, 0.8)
    assert list(zip(left.tolist(), right.tolist())) == [(0, 1), (0, 2), (0, 3)]
    bucket = np.arange(representatives.WIDEST + 4) % 5
    left, right = representatives.link_buckets(np.array([0, len(bucket)]), bucket, values, BANDING, 0.8)
    assert list(zip(left.tolist(), right.tolist())) == [(0, 1), (0, 2), (0, 3), (0, 4)]


def test_a_large_bucket_is_a_star_that_needs_no_signatures():
    values = np.zeros((2, BANDING.permutations), np.uint32)
    large = np.r_[np.arange(1, 3_001), 0]
    left, right = representatives.link_buckets(
        np.array([0, 2, 3_003]), np.r_[0, 1, large], values, BANDING, 0.8, False, 3_001
    )
    assert len(left) == 3_000 and (left[0], right[0]) == (0, 1)
    assert sorted({*left.tolist(), *right.tolist()}) == list(range(3_001))


def alike(count: int, own: int = 12, frame: int = 88) -> tuple[np.ndarray, jaccard.Sets]:
    """Documents of one frame and words of their own: each pair's similarity is frame / (frame + 2 own), here .79."""
    return measured(
        [" ".join([*(f"f{n}" for n in range(frame)), *(f"o{doc}x{n}" for n in range(own))]) for doc in range(count)]
    )


def test_what_is_compared_grows_with_the_documents_and_not_with_their_pairs():
    values, sets = alike(4_000)

    def work(way, n: int) -> tuple[int, np.ndarray]:
        part = jaccard.Sets(sets.hashes[: sets.bounds[n]], sets.bounds[: n + 1])
        if way == "small":
            found = representatives.choose(np.array([0, n]), np.zeros(n, bool), values[:n], part, BANDING, 0.8)
            return found.tally[:, 0].sum(), found
        found = prefixjoin.choose_large(
            chunker(values[:n], part, 700),
            np.zeros(n, bool),
            BANDING,
            0.8,
            most_hashes=1 << 20,
            most_docs=5_000,
            most_visits=500,
        )
        return found.tally[:, 0].sum() + found.steps.sum(), found

    for way in ("small", "large"):
        (half, _), (whole, found) = work(way, 2_000), work(way, 4_000)
        assert half > 200 * 2_000 and whole <= 2.3 * half, way
        assert (
            found.left[-1] > 0 and not found.left[:50].any() and np.array_equal(found.representative, np.arange(4_000))
        )
    found = work("small", 4_000)[1]
    assert found.tally[:, 2].sum() == found.left.sum() > 0


@pytest.mark.parametrize("most_visits", [100, 400])
def test_the_work_on_one_document_has_a_ceiling(most_visits):
    """However many documents are alike: entries of the index read, signatures compared, exact comparisons. That is why the
    first thousands cost more than twice as much at twice the number: not all of them meet as many others as they may."""
    n, most = 1_500, 30
    values, sets = alike(n, own=20, frame=80)
    found = prefixjoin.choose_large(
        chunker(values, sets, 700), np.zeros(n, bool), BANDING, 0.8, most=most, most_visits=most_visits
    )
    compared, read = found.steps.tolist()
    assert 0.5 * most_visits * n < read <= most_visits * n
    assert 0 < compared <= (most_visits + 1) * n and found.tally[:, 0].sum() <= 2 * most * n


def counted_chunks(values: np.ndarray, sets: jaccard.Sets, size: int, read: list[int]):
    """`chunker`, with the number of documents of each chunk put into `read`."""

    def chunks(start: int):
        for chunk in chunker(values, sets, size)(start):
            read.append(len(chunk.values))
            yield chunk

    return chunks


def test_over_many_blocks_the_work_grows_with_the_documents_too():
    """20 and 40 blocks of kept documents, none of which matches another: passes over the documents, entries of the indexes read,
    signatures and sets compared."""
    values, sets = alike(4_000)

    def work(n: int) -> np.ndarray:
        part, read = jaccard.Sets(sets.hashes[: sets.bounds[n]], sets.bounds[: n + 1]), []
        found = prefixjoin.choose_large(
            counted_chunks(values[:n], part, 50, read), np.zeros(n, bool), BANDING, 0.8,
            most_hashes=1 << 20, most_docs=100, most=20, most_visits=80, most_blocks=5,
        )  # fmt: skip
        assert np.array_equal(found.representative, np.arange(n)) and found.left[700:].min() > 0
        return np.array([sum(read), found.tally[:, 0].sum(), *found.steps])

    half, whole = work(2_000), work(4_000)
    assert (half > 0).all() and (whole <= 2.3 * half).all(), (half, whole)
    assert half[0] <= (5 + 3) * 2_000
    assert half[1] <= sum(2 * max(8, 20 >> block) for block in range(6)) * 2_000, "halved in every block, down to 8"
    assert half[2] <= sum(max(64, 80 >> block) + 1 for block in range(6)) * 2_000


def test_in_later_blocks_near_copies_still_go():
    """Documents that reached their limits in block after block: the copies of one of the first block and of a later one go all the same."""
    frame = [f"f{n}" for n in range(88)]
    texts = [" ".join([*frame, *(f"o{doc}x{n}" for n in range(12))]) for doc in range(900)]
    texts += [texts[20].replace("f7 ", "g7 "), texts[640].replace("f7 ", "g7 ")]
    values, sets = measured(texts)
    found = prefixjoin.choose_large(
        chunker(values, sets, 50), np.zeros(902, bool), BANDING, 0.8, most_docs=100, most=20, most_visits=100
    )
    assert found.representative.tolist() == [*range(900), 20, 640]
    assert found.left[-2:].tolist() == [0, 0] and found.left[899] > found.left[150] > 0


def test_a_block_reaches_as_far_as_it_is_said_to():
    texts = [f"w{doc}a w{doc}b w{doc}c w{doc}d" for doc in range(60)]
    texts += [texts[3], texts[55]]
    values, sets = measured(texts)
    found = prefixjoin.choose_large(
        chunker(values, sets, 1), np.zeros(62, bool), BANDING, 0.8, most_docs=10, most_blocks=2
    )
    assert found.representative.tolist() == [*range(61), 55], "the first block ends at 10, and reaches to 30"
    assert found.left[:30].tolist() == [0] * 30 and found.left[30:].tolist() == [1] * 10 + [2] * 10 + [3] * 10 + [4, 0]


def test_beyond_the_limit_the_likeliest_are_compared_and_near_copies_still_go():
    frame, n = [f"f{n}" for n in range(88)], 900
    texts = [" ".join([*frame, *(f"o{doc}x{n}" for n in range(12))]) for doc in range(n)]
    texts += [texts[700].replace("f7 ", "g7 "), texts[3].replace("f7 ", "g7 ")]
    values, sets = measured(texts)
    for found in (
        representatives.choose(np.array([0, n + 2]), np.zeros(n + 2, bool), values, sets, BANDING, 0.9, most=20),
        prefixjoin.choose_large(
            chunker(values, sets, 100), np.zeros(n + 2, bool), BANDING, 0.9, most=20, most_visits=100
        ),
    ):
        assert found.representative.tolist() == [*range(n), 700, 3]
        assert found.left[-2:].tolist() == [0, 0]
