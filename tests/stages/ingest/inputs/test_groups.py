"""Groups of input files: sensible sizes, numbers of their own, and no other group changes when a file comes, goes or grows."""

from __future__ import annotations

import random

import pytest

from stages.ingest import plan
from stages.ingest.sources import File

MIB = 1 << 20


def files(sizes, name="part/{:05d}.jsonl.gz"):
    return [File(name.format(number), f"/{number}", size, f"hash {number}") for number, size in enumerate(sizes)]


def named(groups):
    return {number: [file.name for file in group] for number, group in groups.items()}


def drawn(count, seed=3):
    """Sizes as a crawl has them: from one KiB to some hundred MiB."""
    draw = random.Random(seed)
    return [int(2 ** draw.uniform(10, 28)) for _ in range(count)]


def test_few_small_files_are_one_group_of_number_0():
    assert named(plan.groups(files([3_000] * 20))) == {0: [file.name for file in files([0] * 20)]}
    assert plan.groups([]) == {}


def test_a_large_file_is_a_group_of_its_own_and_small_ones_meet_across_it():
    given = files([1_000, plan.ALONE, 1_000, plan.ALONE - 1])
    groups = plan.groups(given)
    assert [file.name for file in groups.pop(0)][:2] == [given[0].name, given[2].name]
    assert (given[1],) in groups.values()


def test_every_file_is_in_one_group_and_groups_have_sensible_sizes():
    given = files(drawn(4_000))
    groups = plan.groups(given)
    assert sorted(file for group in groups.values() for file in group) == sorted(given)
    assert list(groups) == sorted(groups) and all(not number or plan.LEAST <= number < plan.MOST for number in groups)
    small = [sum(file.size for file in group) for group in groups.values() if group[0].size < plan.ALONE]
    mean = sum(small) / len(small)
    assert plan.GROUP_BYTES / 2 < mean < 2 * plan.GROUP_BYTES and max(small) < 8 * plan.GROUP_BYTES
    tiny = plan.groups(files([100] * 100_000))
    assert 3 <= len(tiny) <= 15, "a file costs something beside its bytes"


@pytest.mark.parametrize("how", ["add", "remove", "rename", "grow"])
def test_a_change_touches_the_groups_that_hold_the_file_and_what_it_splits_or_joins(how):
    given = files(drawn(400))
    before = named(plan.groups(given))
    owner = {name: number for number, group in before.items() for name in group}
    order = [file.name for file in given if file.size < plan.ALONE]
    draw, touched = random.Random(7), []
    for _ in range(200):
        at = draw.randrange(len(given))
        one, rest = given[at], [*given[:at], *given[at + 1 :]]
        if how == "add":
            now = sorted([*given, one._replace(name=one.name + "x")])
        elif how == "remove":
            now = rest
        elif how == "rename":
            now = sorted([*rest, one._replace(name=f"part/{draw.randrange(400):05d}.txt")])
        else:
            now = [*given[:at], one._replace(size=one.size * 3 // 2), *given[at + 1 :]]
        after = named(plan.groups(now))
        redone = [number for number, group in after.items() if before.get(number) != group]
        touched.append(len(redone))
        neighbours = {owner[name] for name in _near(order, one.name, now) if name in owner} | {owner[one.name]}
        for number in redone:
            assert {owner[name] for name in after[number] if name in owner} <= neighbours
    assert max(touched) <= {"add": 2, "remove": 1, "rename": 3, "grow": 2}[how]
    assert sum(touched) / len(touched) < {"add": 1.3, "remove": 0.8, "rename": 2.0, "grow": 1.3}[how]


def _near(order, name, now):
    """Small files next to a file, and next to what is new in `now`."""
    places = [name, *(file.name for file in now if file.name not in set(order))]
    found = []
    for place in places:
        found += [each for each in order if each < place][-1:] + [each for each in order if each > place][:1]
    return found


def test_numbers_that_meet_are_told_apart_by_name(monkeypatch):
    monkeypatch.setattr(plan, "MOST", plan.LEAST + 3)
    groups = plan.groups(files([plan.ALONE] * 6))
    assert len(groups) == 6 and set(range(plan.LEAST, plan.LEAST + 3)) <= set(range(min(groups), max(groups) + 1)) | {
        plan.LEAST
    }
    assert plan.groups(files([plan.ALONE] * 6)) == groups
