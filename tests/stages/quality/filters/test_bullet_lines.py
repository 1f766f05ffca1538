def test_bullets(reasons):
    assert reasons("bullet_lines", ["- a\n  • b", "- a\nb"]) == ["bullet_lines.high", None]
