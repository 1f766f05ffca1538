def test_wiki_citations_go(edited):
    assert (
        edited("citations", "Text[1] and[citation needed] more.[12][edit] a[b] stays.") == "Text and more. a[b] stays."
    )


def test_every_citation_is_an_edit_of_the_ledger(judge):
    work = judge("citations", ["Text[1] more[2]."])
    edits = work.ledger["edits"][0].as_py()
    assert [(e["start"], e["end"], e["replacement"], e["by"]) for e in edits] == [
        (4, 7, "", "citations"),
        (12, 15, "", "citations"),
    ]
