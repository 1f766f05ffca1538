"""Pages in the DOM of Korean news portals and newspapers."""

from __future__ import annotations

from tests.bench.ingest.korean.parts import Page, document, template

RANKING = "<li><a href=/a/{n}><em class=num></em><strong>{}</strong></a></li>"


@template("article")
def portal_article(page: Page) -> str:
    """A portal's article: `newsct_article`, text parted by line breaks, a reporter's card, rankings."""
    write = page.write
    return document(
        page,
        f"<div id='u_skip'><a>본문 바로가기</a></div><header class='Nheader'><ul class='Nlnb_menu_list'>{page.menu(1)}</ul></header><div id='ct_wrap' class='ct_wrap'><div class='ct_scroll_wrapper'><div class='newsct_wrapper'><div id='ct' role='main'>"
        f"<div class='media_end_head'><h2 id='title_area' class='media_end_head_headline'><span>{page.title}</span></h2><div class='media_end_head_info_datestamp'>입력 {write.day()} 오후 {write.clock()}<a>기사원문</a></div><div class='media_end_head_journalist'><em>{write.person()} 기자</em></div></div>"
        f"<div id='contents' class='newsct_body'><div class='newsct_article _article_body'><article id='dic_area' class='go_trans _article_content'><strong class='media_end_summary'>{page.keep(write.title())}</strong><br><br>{page.paragraphs('{}<br><br>', 4, 9)}</article></div>"
        f"<div class='byline'><p>{write.person()} 기자 reporter@example.kr</p></div><div class='copyright'>Copyright ⓒ 맷돌신문. All rights reserved. 무단 전재 및 재배포 금지.</div><div class='media_end_categorize'><em>이 기사는 언론사에서 <em>사회</em> 섹션으로 분류했습니다.</em></div></div>"
        f"<div class='media_journalistcard'>{write.person()} 기자<a>구독</a></div><div class='end_rank'><h3>많이 본 뉴스</h3><ol>{page.titles(5, RANKING)}</ol></div></div><div class='aside'><h3>헤드라인</h3><ul>{page.titles(6, RANKING)}</ul></div></div></div></div><footer>{page.footer()}</footer>",
    )  # fmt: skip


@template("article", held_out=True)
def portal_sections(page: Page) -> str:
    """Another portal's: `article_view` with a `section`, paragraphs with `dmcf-ptype`, comments, hot issues."""
    write = page.write
    return document(
        page,
        f"<div id='kakaoIndex'><a>본문 바로가기</a></div><div id='kakaoWrap'><header id='kakaoHead'><nav><ul class='gnb_comm'>{page.menu(1)}</ul></nav></header><main id='kakaoContent'><div class='head_view'><em class='info_cp'>맷돌일보</em><h3 class='tit_view'>{page.title}</h3>"
        f"<div class='info_view'><span class='txt_info'>{write.person()}</span><span class='txt_info'>입력 {write.day()}</span><button>댓글 {write.count(90)}</button></div></div><div class='news_view'><div class='summary_view'><strong>요약보기</strong>자동요약</div><div class='article_view'><section>"
        f"{page.paragraphs('<p dmcf-ptype=general>{}</p>', 4, 9)}</section></div><div class='foot_view'><p class='txt_copyright'>저작권자 ⓒ 맷돌일보, 무단전재 및 재배포 금지</p></div></div><div class='alex-comment'><ul>"
        + page.some(2, 7, "<li><strong>{nick}</strong><span>{day} {clock}</span><p class='desc_txt'>{text}</p><button>추천</button></li>")
        + f"</ul></div><div class='relate_news'><strong>이 시각 추천뉴스</strong><ul>{page.titles(8, '<li><a><strong class=tit_g>{}</strong></a></li>')}</ul></div></main><footer class='doc-footer'>{page.footer()}</footer></div>",
    )  # fmt: skip


@template("article")
def local_paper(page: Page) -> str:
    """The system of many local papers: `article-view-content-div`, related articles inside the text's column."""
    write = page.write
    return document(
        page,
        f"<div id='user-wrap'><header id='user-header'><ul class='header-menu'>{page.menu(1)}</ul></header><div id='user-container'><section id='article-view'><article><header class='article-view-header'><nav class='article-head-nav'>기사 &gt; 지역</nav><h3 class='heading'>{page.title}</h3><ul class='infomation'><li>기자명 {write.person()} 기자</li><li>입력 {write.day()} {write.clock()}</li><li>댓글 0</li></ul></header>"
        f"<div class='article-body'><div class='sns-box'><a>페이스북(으)로 기사보내기</a><a>글씨키우기</a></div><article id='article-view-content-div' class='article-veiw-body font-size17' itemprop='articleBody'><figure><img src='p.jpg'><figcaption>{page.keep(write.sentences(1, 1))}</figcaption></figure>{page.paragraphs('<p>{}</p>', 3, 8)}</article>"
        f"<div class='view-copyright'>저작권자 © 맷돌시보 무단전재 및 재배포 금지</div><div class='writer'><strong>{write.person()} 기자</strong><a>다른기사 보기</a></div></div></article></section><aside><h4>관련기사</h4><ul>{page.titles(5, RANKING)}</ul><h4>인기뉴스</h4><ol>{page.titles(8, RANKING)}</ol></aside></div><footer id='user-footer'>{page.footer()}</footer></div>",
    )  # fmt: skip


@template("article", held_out=True, charset="cp949")
def paper_in_tables(page: Page) -> str:
    """A paper's site of the early years, in tables and CP949."""
    write = page.write
    return document(
        page,
        f"<table width=950 align=center><tr><td><table><tr>{page.menu(1, '<td class=menu><a href=/s{n}.html>{}</a></td>')}</tr></table></td></tr><tr><td><table width=100%><tr><td width=640 valign=top><table><tr><td class=view_title><b>{page.title}</b></td></tr><tr><td align=right class=date>{write.day()} {write.clock()} 입력 | {write.person()} 기자</td></tr>"
        f"<tr><td class=view_text id=articleBody><font size=3>{page.paragraphs('{}<br><br>', 4, 9)}</font></td></tr><tr><td class=copy>ⓒ 맷돌경제 & example.kr, 무단전재 및 재배포 금지</td></tr></table><table class=prevnext><tr><td>이전기사</td><td><a>{write.title()}</a></td></tr></table></td>"
        f"<td width=300 valign=top><table class=best><tr><td>가장 많이 읽은 기사</td></tr>{page.titles(8, '<tr><td>· <a href=/n{n}.html>{}</a></td></tr>')}</table></td></tr></table></td></tr><tr><td class=foot>{page.footer()}</td></tr></table>",
    )  # fmt: skip


@template("collection")
def news_list(page: Page) -> str:
    """A section's list: headlines with leads are its main text."""
    write = page.write
    rows = "".join(
        f"<li class='item'><h2 class='titles'><a>{page.keep(write.title())}</a></h2><p class='lead'><a>{page.keep(write.sentences(1, 2))}</a></p><span class='byline'><em>{write.person()}</em><em>{write.day()}</em></span></li>"
        for _ in range(page.dice.randint(8, 16))
    )
    return document(
        page,
        f"<header id='user-header'><ul>{page.menu(1)}</ul></header><div id='user-container'><h1 class='sec-title'>지역</h1><section id='section-list'><ul class='type2'>{rows}</ul><div class='pagination'><a>1</a><a>2</a><a>3</a><a>다음</a></div></section>"
        f"<aside><h4>인기뉴스</h4><ol>{page.titles(8, RANKING)}</ol></aside></div><footer>{page.footer()}</footer>",
    )  # fmt: skip


@template("collection", held_out=True)
def portal_list(page: Page) -> str:
    """A portal's list of a topic: pictures, headlines and leads in boxes."""
    write = page.write
    rows = "".join(
        f"<div class='sa_item_inner'><div class='sa_thumb'><img src='t.jpg'></div><div class='sa_text'><a class='sa_text_title'><strong class='sa_text_strong'>{page.keep(write.title())}</strong></a><div class='sa_text_lede'>{page.keep(write.sentences(1, 2))}</div><div class='sa_text_info'><div class='sa_text_press'>맷돌신문</div><b>{write.count(50)}분전</b></div></div></div>"
        for _ in range(page.dice.randint(8, 16))
    )
    return document(
        page,
        f"<header><ul class='Nlnb_menu_list'>{page.menu(1)}</ul></header><div id='newsct'><div class='section_article as_section_list'>{rows}<a class='section_more_inner'>기사 더보기</a></div></div><div class='aside'><h3>언론사별 랭킹</h3><ol>{page.titles(7, RANKING)}</ol></div><footer>{page.footer()}</footer>",
    )  # fmt: skip
