"""An article and its comments are both text, whichever system wrote the page and however it is read."""

from __future__ import annotations

import pytest

from stages.ingest.html import page as pages
from stages.ingest.row import Raw

ARTICLE = [
    f"Paragraph {n} of the article explains how the old mill grinds grain between two heavy stones, and why the miller listens to them all day long."
    for n in range(8)
]
COMMENTS = [
    f"Comment {n}: I visited this mill last summer and it was lovely, the bread that they bake there is the best I have ever had, thank you for it."
    for n in range(4)
]
HANGUL = [
    f"{n}번째 문단은 오래된 물레방아가 무거운 두 돌 사이에서 곡식을 어떻게 가는지, 그리고 방앗간 주인이 왜 하루 종일 그 소리에 귀를 기울이는지를 차근차근 설명한다."
    for n in range(8)
]
REPLIES = [
    f"{n}번 댓글: 지난여름에 이 방앗간에 다녀왔는데 정말 좋았고, 그곳에서 굽는 빵은 제가 먹어 본 빵 가운데 가장 맛있었습니다. 좋은 글 고맙습니다."
    for n in range(4)
]

SYSTEMS = {
    "replies": ("<article><h1>The mill</h1>{a}</article><ul class=replies>{c}</ul>", "<li><div class=reply-content>{}</div></li>"),
    "wordpress": ('<article class=post><h1>The mill</h1><div class=entry-content>{a}</div></article><div id=comments><ol class=commentlist>{c}</ol></div>',
                  '<li class=comment><article class=comment-body><div class=comment-content><p>{}</p></div></article></li>'),
    "disqus": ("<main><h1>The mill</h1><div class=content>{a}</div></main><section id=disqus_thread><ul class=post-list>{c}</ul></section>", '<li class=post><div class="post-body"><div class="post-message"><p>{}</p></div></div></li>'),
    "one container": ("<div class=content><h1>The mill</h1>{a}<div class=comments>{c}</div></div>", "<div class=c><b>Ann</b><div class=message-content>{}</div></div>"),
    "forum, first post an article": ("<div class=topic><article class=first>{a}</article><div class=answers>{c}</div></div>", "<div class=answer><span>Ann, 3 May</span><div class=post_message>{}</div></div>"),
    "answers": ("<div class=question><h1>The mill</h1>{a}</div><div id=answers>{c}</div>", "<div class=answer><div class=js-post-body>{}</div></div>"),
}  # fmt: skip
KOREAN = {
    "gnuboard": ('<div id=bo_v><h1 id=bo_v_title>방앗간</h1><section id=bo_v_atc><div id=bo_v_con>{a}</div></section><section id=bo_vc><h2>댓글목록</h2>{c}</section></div>',
                 '<article id=c_1><header>물레</header><div class=cmt_contents><p>{}</p></div></article>'),
    "xe": ('<div class=rd><div class=rd_body><article><div class="document_1 xe_content">{a}</div></article></div><div class=fdb_lst_wrp><ul class=fdb_lst_ul>{c}</ul></div></div>',
           '<li class="fdb_itm"><div class=meta>물레</div><div class="comment_1 xe_content">{}</div></li>'),
    "tistory": ('<div class=article><h2>방앗간</h2><div class="tt_article_useless_p_margin contents_style">{a}</div></div><div class=comment_list><ul class=list_reply>{c}</ul></div>',
                '<li><div class=area_reply><span class=txt_reply>{}</span></div></li>'),
    "dc": ("<div class=gallview_contents><div class=writing_view_box>{a}</div></div><div class=comment_wrap><ul class=cmt_list>{c}</ul></div>", "<li class=ub-content><div class=cmt_txtbox><p class='usertxt ub-word'>{}</p></div></li>"),
    "memo": ("<div class=read_body>{a}</div><div class=replies>{c}</div>", "<div class=item><b>물레</b><div class=reply_content>{}</div></div>"),
}  # fmt: skip
CASES = [(name, *SYSTEMS[name], ARTICLE, COMMENTS) for name in SYSTEMS] + [
    (name, *KOREAN[name], HANGUL, REPLIES) for name in KOREAN
]


MENU = "".join(f"<li><a href=/{name}>{name}</a></li>" for name in "Home News Sport Weather Shop Contact".split())
SITE = (
    f"<header><nav><ul>{MENU}</ul></nav></header>{{}}<aside><h3>Related</h3><ul>{MENU}</ul></aside>"
    "<footer><p>Copyright 2026 Example Ltd. All rights reserved.</p><a href=/privacy>Privacy policy</a></footer>"
)


def source_of(frame, post, article, comments, shell="{}"):
    body = frame.format(a="".join(f"<p>{p}</p>" for p in article), c="".join(post.format(c) for c in comments))
    return f"<html><head><title>The mill</title></head><body>{shell.format(body)}</body></html>"


@pytest.mark.parametrize(
    "mode, shell", [("trafilatura", "{}"), ("main", "{}"), ("main", SITE), ("all", "{}"), ("resiliparse", "{}")]
)
@pytest.mark.parametrize("name, frame, post, article, comments", CASES, ids=[case[0] for case in CASES])
def test_article_and_comments(page, mode, shell, name, frame, post, article, comments):
    text = page(source_of(frame, post, article, comments, shell), mode).values["text"]
    assert "Copyright" not in text and "Weather" not in text
    assert [text.count(p) for p in article] == [1] * len(article)
    assert [text.count(c) for c in comments] == [1] * len(comments)
    assert max(map(text.index, article)) < min(map(text.index, comments))


@pytest.mark.parametrize("mode", ["main", "trafilatura"])
@pytest.mark.parametrize("name, frame, post, article, comments", CASES[:2], ids=["replies", "wordpress"])
def test_without_comments_the_article_stands_alone(mode, name, frame, post, article, comments):
    source = frame.format(a="".join(f"<p>{p}</p>" for p in article), c="".join(post.format(c) for c in comments))
    text = pages.read(Raw("page", "", source.encode()), mode, comments=False).values["text"]
    assert all(p in text for p in article)


BOXED = [
    case
    for case in CASES
    if case[0] in ("replies", "wordpress", "disqus", "one container", "gnuboard", "xe", "tistory", "dc", "memo")
]


@pytest.mark.parametrize("name, frame, post, article, comments", BOXED, ids=[case[0] for case in BOXED])
def test_the_learnt_extractor_leaves_boxes_of_comments_out_on_request(name, frame, post, article, comments):
    source = source_of(frame, post, article, comments, SITE)
    text = pages.read(Raw("page", "", source.encode()), "main", comments=False).values["text"]
    assert all(p in text for p in article) and not any(c in text for c in comments)
