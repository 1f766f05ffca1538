def test_cookies_go(edited):
    assert edited("policy_lines", "This site uses cookies.\nText.\n개인정보처리방침\n글이다.") == "Text.\n글이다."


def test_an_article_about_cookies_stays(edited):
    text = "The committee " + "argued at length " * 20 + "about the use of cookies."
    assert edited("policy_lines", text) == text
