"""Headings put back: before their own text, in order, and only where that text was kept."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.html.headings import restored
from stages.ingest.html.render import Rendered, render
from stages.ingest.html.tree import parse


def made(html: str) -> Rendered:
    return render(parse(f"<body>{html}</body>").body)


def headings(found: Rendered) -> list[tuple[str, int | None]]:
    return [(found.text[s.start : s.end], s.level) for s in found.spans if s.kind == "heading"]


FINE = made(
    "<p>The stones are dressed every spring.</p><p>Four people work at the mill.</p><ul><li>wheat and barley flour</li></ul>"
)
ROUGH = made(
    "<nav><h2>Menu</h2><ul><li>Home page of the mill</li></ul></nav><h1>The mill</h1><h2>Stones</h2><p>The stones are dressed every spring.</p>"
    "<h2>People</h2><p>Four people work at the mill.</p><h3>Flours</h3><ul><li>wheat and barley flour</li></ul><h2>Related</h2><p>Another mill nearby.</p>"
)


def test_headings_come_back_with_their_levels_and_furniture_stays_out():
    found = restored(FINE, ROUGH)
    assert headings(found) == [("Stones", 2), ("People", 2), ("Flours", 3)]
    assert (
        found.text
        == "Stones\n\nThe stones are dressed every spring.\n\nPeople\n\nFour people work at the mill.\n\nFlours\n\n- wheat and barley flour"
    )


def test_other_blocks_and_marks_move_along():
    found = restored(FINE, ROUGH)
    assert [(s.kind, found.text[s.start : s.end]) for s in found.spans if s.kind != "heading"] == [
        ("paragraph", "The stones are dressed every spring."), ("paragraph", "Four people work at the mill."), ("list", "- wheat and barley flour"),
    ]  # fmt: skip
    assert [found.text[a:b] for a, b in found.marks] == ["- "]


def test_a_heading_that_is_there_as_a_paragraph_is_only_called_one():
    fine = made("<p>Stones</p><p>The stones are dressed every spring.</p>")
    found = restored(fine, ROUGH)
    assert found.text == fine.text and headings(found) == [("Stones", 2)]
    assert sum(found.text[s.start : s.end] == "Stones" for s in found.spans) == 1


def test_what_has_its_headings_is_left_as_it_is():
    assert restored(ROUGH, ROUGH) == ROUGH and restored(Rendered(""), ROUGH).text == ""
    assert restored(FINE, made("<p>Nothing is a heading here.</p>")) == FINE


def test_a_line_that_the_other_reading_breaks_is_found():
    fine = made("<p>/dev holds the files of many devices.</p>")
    rough = made("<h2>Devices</h2><p>/dev</p><p>holds the files of many devices.</p>")
    assert headings(restored(fine, rough)) == [("Devices", 2)]


def test_no_heading_stands_inside_a_list_or_a_table():
    fine = made("<ul><li>first of all things</li><li>second of all things</li></ul>")
    rough = made("<ul><li>first of all things</li></ul><h2>Second</h2><ul><li>second of all things</li></ul>")
    assert restored(fine, rough) == fine


words = st.lists(
    st.sampled_from("mill stone water wheat flour spring river door wheel grain".split()), min_size=4, max_size=9
).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.booleans(), words), min_size=1, max_size=12), st.data())
def test_nothing_of_the_text_is_lost_and_every_span_holds_its_text(parts, data):
    """Against a reading that keeps every paragraph: what the first reading had stands in the result, in order."""
    rough = made("".join(f"<h2>{text}</h2>" if heading else f"<p>{text}</p>" for heading, text in parts))
    kept = [text for heading, text in parts if not heading and data.draw(st.booleans())]
    fine = made("".join(f"<p>{text}</p>" for text in kept))
    found = restored(fine, rough)
    lines = [line for line in found.text.split("\n\n") if line]
    paragraphs = [found.text[s.start : s.end] for s in found.spans if s.kind == "paragraph"]
    added = [text for text, _ in headings(found)]
    assert sorted([*paragraphs, *added]) == sorted(lines) and len(lines) - len(kept) <= sum(
        heading for heading, _ in parts
    )
    rest = iter(lines)
    assert all(text in rest for text in kept)
