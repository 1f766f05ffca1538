GOOD = "This line has more than three words. So has this."


def test_lines_and_citations(edited):
    text = (
        f"  {GOOD} [12]\nNo end to this line\nWe use cookies on this page.\nEnable JavaScript to go on.\nToo short.\n{GOOD}[edit]\n"
        + f"{GOOD}\n" * 2
    )
    # a line that ends in a citation after a blank does not end in a mark: C4's own code decides so
    assert edited("c4", text, min_sentences=3) == "\n".join([GOOD] * 3)


def test_pages(reasons):
    many = "\n".join([GOOD] * 3)
    assert reasons("c4", [many, GOOD, many + "\nThis lorem ipsum is bad.", many + "\nWe have { code here."]) == [
        None,
        "c4.sentences.low",
        "c4.lorem.high",
        "c4.curly.high",
    ]


def test_a_bracket_in_a_line_that_goes_anyway_is_no_reason(reasons):
    assert reasons("c4", ["\n".join([GOOD] * 3) + "\nint main() {"]) == [None]


def test_korean_lines_end_in_a_full_stop_too(edited):
    line = "이 줄은 낱말이 다섯 개이다. 이 문장도 그렇다."
    assert edited("c4", f"{line}\n메뉴 목록 보기\n{line}\n{line}", "ko") == "\n".join([line] * 3)


def test_a_text_of_too_many_lines_is_refused(monkeypatch, reasons):
    from stages.text.lines import outline

    monkeypatch.setattr(outline, "MAX_LINES", 3)
    assert reasons("c4", ["\n".join([GOOD] * 4), "\n".join([GOOD] * 3)]) == ["c4.lines.high", None]


def test_edits_are_in_the_ledger_and_make_the_text(judge):
    from pipeline.schema import apply_edits

    text = f"  {GOOD}\nNo end\r\n{GOOD}[3]\n\n{GOOD}  "
    work = judge("c4", [text])
    edits = [tuple(edit.values()) for edit in work.ledger["edits"][0].as_py()]
    assert apply_edits(text, edits)[0] == work.kept["text"][0].as_py() == "\n".join([GOOD] * 3)
