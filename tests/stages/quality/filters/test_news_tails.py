def test_what_stands_under_the_article_goes(edited):
    body = "정부가 계획을 발표했다.\n전문가들은 환영했다.\n시행은 내년이다."
    tail = "홍길동 기자 hong@example.co.kr\n▶ 관련기사\n날씨 더보기\nⓒ 무단전재 금지"
    assert edited("news_tails", f"{body}\n{tail}") == body


def test_a_reporter_in_the_article_stays(edited):
    body = "기자가 물었다.\n" + "\n".join(f"문장 {n}이다." for n in range(12))
    assert edited("news_tails", body) == body
