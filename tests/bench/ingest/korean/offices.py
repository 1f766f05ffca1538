"""Pages in the DOM of Korean government boards and public offices."""

from __future__ import annotations

from tests.bench.ingest.korean.parts import Page, document, template


def _office(page: Page, body: str, head: str) -> str:
    return document(
        page,
        f"<div id='accessibility'><a href='#contents'>본문 바로가기</a></div><div id='header'><div class='util'><a>누리집 안내지도</a><a>ENGLISH</a></div><ul id='gnb'>{page.menu(4)}</ul></div><div id='container'><div class='lnb'><h2>{head}</h2><ul>{page.titles(5, '<li><a>{}</a></li>')}</ul></div>"
        f"<div id='contents'><div class='location'>홈 &gt; 소식 &gt; {head}</div><h3 class='tit'>{head}</h3>{body}<div class='satisfaction'><p>이 페이지에서 제공하는 정보에 대하여 만족하십니까?</p><label>매우만족</label><label>만족</label><button>평가하기</button></div><div class='manager'>담당부서 : {page.write.noun()}과 문의 : 02-000-0000</div></div></div>"
        f"<div id='footer'><select><option>관련 누리집</option></select>{page.footer()}</div>",
    )  # fmt: skip


@template("article")
def board_of_the_framework(page: Page) -> str:
    """A notice on a board of the common framework: a table with rows of facts, the text in its last cell."""
    write = page.write
    return _office(
        page,
        f"<table class='bbs_view' summary='게시글 상세'><caption>게시글 보기</caption><tbody><tr><th scope='row'>제목</th><td colspan='3'>{page.title}</td></tr><tr><th>작성자</th><td>{write.person()}</td><th>등록일</th><td>{write.day()}</td></tr><tr><th>첨부파일</th><td colspan='3'><a>공고문.hwp</a> <a>바로보기</a></td></tr><tr><td colspan='4' class='cont'>{page.paragraphs('<p>{}</p>', 3, 7)}</td></tr></tbody></table>"
        f"<div class='btn_area'><a>목록</a></div><ul class='prev_next'><li>이전글 <a>{write.title()}</a></li><li>다음글 <a>{write.title()}</a></li></ul>",
        "공지사항",
    )  # fmt: skip


@template("article", held_out=True)
def press_release(page: Page) -> str:
    """A press release of a ministry: facts in a list, numbered paragraphs with signs of their own."""
    write = page.write
    return _office(
        page,
        f"<div class='board_view'><div class='view_head'><h4>{page.title}</h4><dl><dt>담당부서</dt><dd>{write.noun()}정책과</dd><dt>작성일</dt><dd>{write.day()}</dd><dt>조회수</dt><dd>{write.count()}</dd></dl></div><div class='view_file'><strong>첨부파일</strong><a>보도자료.hwpx</a><a>전체다운로드</a></div>"
        f"<div class='view_cont'>{page.paragraphs('<p style=line-height:160%><span>□ {}</span></p>', 2, 5)}{page.paragraphs('<p><span>&nbsp;○ {}</span></p>', 2, 5)}</div><div class='kogl'>본 저작물은 공공누리 제1유형에 따라 이용할 수 있습니다.</div></div><div class='btns'><a>목록</a></div>",
        "보도자료",
    )  # fmt: skip


@template("service")
def guide_page(page: Page) -> str:
    """A page that explains a service: headings, lists, a table."""
    write = page.write
    parts = "".join(
        f"<h4 class='bu'>{page.keep(write.title())}</h4><ul class='bu_list'>{''.join(f'<li>{page.keep(write.sentences(1, 1))}</li>' for _ in range(page.dice.randint(2, 5)))}</ul>"
        for _ in range(3)
    )
    rows = "".join(
        f"<tr><td>{page.keep(write.noun())}</td><td>{page.keep(write.price() + '원')}</td><td>{page.keep(write.sentences(1, 1))}</td></tr>"
        for _ in range(4)
    )
    return _office(
        page,
        f"<div class='con_box'>{page.paragraphs('<p>{}</p>', 1, 2)}{parts}<div class='tbl_wrap'><table><thead><tr><th>{page.keep('구분')}</th><th>{page.keep('수수료')}</th><th>{page.keep('비고')}</th></tr></thead><tbody>{rows}</tbody></table></div></div>",
        "민원안내",
    )  # fmt: skip


@template("service", held_out=True)
def questions_page(page: Page) -> str:
    """Frequent questions in an accordion of definition lists."""
    write = page.write
    rows = "".join(
        f"<dl class='faq_item'><dt><a href='#'><span class='q'>Q</span> {page.keep(write.title() + ' 어떻게 신청하나요?')}</a></dt><dd><span class='a'>A</span><div>{page.paragraphs('<p>{}</p>', 1, 2)}</div></dd></dl>"
        for _ in range(page.dice.randint(4, 8))
    )
    return _office(page, f"<div class='search_box'><select><option>전체</option></select><input><button>검색</button></div><div class='faq_list'>{rows}</div><div class='paging'><a>1</a><a>2</a><a>다음 페이지</a></div>", "자주 묻는 질문")  # fmt: skip
