"""Pages in the DOM of Korean board systems: gnuboard, XE and Rhymix, and the large communities' own."""

from __future__ import annotations

from tests.bench.ingest.korean.parts import Page, document, template


def _gnuboard(page: Page, body: str) -> str:
    return document(
        page,
        f"<div id='hd'><h1 id='hd_h1'>{page.title}</h1><div id='skip_to_container'><a href='#container'>본문 바로가기</a></div>"
        f"<div id='tnb'><ul>{page.menu(0)}</ul></div><nav id='gnb'><h2>메인메뉴</h2><ul id='gnb_1dul'>{page.menu(3)}</ul></nav></div>"
        f"<div id='wrapper'><div id='container_wr'><div id='container'>{body}</div>"
        f"<div id='aside'><section class='ol'><h2>회원로그인</h2><label>아이디</label><input name='mb_id'><button>로그인</button></section>"
        f"<div class='lat'><h2 class='lat_title'>인기글</h2><ul>{page.titles(6, '<li><a href=/b/{n}>{}</a> <span class=lt_cmt>{n}</span></li>')}</ul></div></div></div></div>"
        f"<div id='ft'><div id='ft_wr'>{page.footer()}</div><button id='top_btn'>상단으로</button></div>",
    )


@template("forum")
def gnuboard_basic(page: Page) -> str:
    """gnuboard 5, basic skin."""
    write = page.write
    return _gnuboard(
        page,
        f"<article id='bo_v' style='width:100%'><header><h2 id='bo_v_title'><span class='bo_v_cate'>잡담</span><span class='bo_v_tit'>{page.title}</span></h2></header>"
        f"<section id='bo_v_info'><h2>페이지 정보</h2><div class='profile_info'>작성자 <strong><span class='sv_member'>{write.nick()}</span></strong>"
        f"<br><span class='if_date'>작성일 {write.day()} {write.clock()}</span> <strong>조회 {write.count()}회</strong> <strong>댓글 {write.count(30)}건</strong></div></section>"
        f"<section id='bo_v_atc'><h2 id='bo_v_atc_title'>본문</h2><div id='bo_v_share'><a href='#'>페이스북</a><a href='#'>트위터</a></div>"
        f"<div id='bo_v_con'>{page.paragraphs('<p>{}</p>')}</div><div id='bo_v_act'><a id='good_button'>추천 <strong>{write.count(50)}</strong></a> <a>비추천</a></div></section>"
        f"<ul class='btn_bo_user bo_v_com'><li><a>목록</a></li><li><a>답변</a></li><li><a>글쓰기</a></li></ul>"
        f"<ul class='bo_v_nb'><li class='btn_prv'><span class='nb_tit'>이전글</span><a>{write.title()}</a></li><li><span class='nb_tit'>다음글</span><a>{write.title()}</a></li></ul></article>"
        "<section id='bo_vc'><h2>댓글목록</h2>"
        + page.some(2, 9, "<article id='c_{n}'><div class='cm_wrap'><header><h2>{nick}님의 댓글</h2><span class='member'>{nick}</span> 작성일 <span class='bo_vc_hdinfo'>{day} {clock}</span></header><div class='cmt_contents'><p>{text}</p></div><div class='bo_vl_opt'><a>답변</a> <a>신고</a></div></div></article>")
        + "</section><aside id='bo_vc_w'><h2>댓글쓰기</h2><form><label>내용</label><textarea></textarea><button>댓글등록</button></form></aside>",
    )  # fmt: skip


@template("forum", held_out=True, charset="cp949")
def gnuboard_table(page: Page) -> str:
    """An older gnuboard, laid out in tables, in EUC-KR."""
    write = page.write
    return document(
        page,
        f"<table width=100%><tr><td class=top>{page.menu(0, '<a href=/m/{n}>{}</a> | ')}</td></tr></table><table width=960 align=center><tr><td width=180 valign=top>"
        f"<table class=outlogin><tr><td>아이디</td><td><input></td></tr><tr><td colspan=2>자동로그인</td></tr></table>{page.titles(5, '<div class=latest><a href=/b/{n}>{}</a></div>')}</td>"
        f"<td valign=top><table width=100%><tr><td height=30><b>{page.title}</b></td></tr><tr><td>글쓴이 : <span class=member>{write.nick()}</span> 날짜 : {write.day()} {write.clock()} 조회 : {write.count()}</td></tr>"
        f"<tr><td height=150 style='word-break:break-all'><span class=ct lh>{page.paragraphs('{}<br><br>')}</span></td></tr></table>"
        f"<table width=100%><tr><td>{page.some(1, 6, '<table class=mw_basic_comment><tr><td><b>{nick}</b> <span style=font-size:8pt>{day} {clock}</span></td></tr><tr><td style=padding:5px><span class=ct>{text}</span></td></tr></table>')}</td></tr></table>"
        f"<div><a>목록</a> <a>수정</a> <a>삭제</a> <a>답변</a> <a>글쓰기</a></div></td></tr></table><table width=100%><tr><td align=center>{page.footer()}</td></tr></table>",
    )  # fmt: skip


def _xe(page: Page, body: str, shell: str) -> str:
    return document(
        page,
        f"<div class='{shell}'><header class='header'><ul class='gnb'>{page.menu(0)}</ul></header><div class='body'><div class='content' id='content'>{body}</div>"
        f"<aside class='side'><div class='widget'><h3>최근 글</h3><ul class='widgetA'>{page.titles(7, '<li><a class=title href=/{n}>{}</a><span class=date>{day}</span></li>')}</ul></div></aside></div>"
        f"<footer class='footer'><p>{page.footer(2)}</p></footer></div>",
    )  # fmt: skip


@template("forum")
def xe_board(page: Page) -> str:
    """XE 1.x, board module."""
    write = page.write
    return _xe(
        page,
        f"<div class='board'><div class='board_read'><div class='read_header'><h1><a href='/1'>{page.title}</a></h1><p class='meta'><a class='author'>{write.nick()}</a> <span class='time'>{write.day()} {write.clock()}</span> 조회 수 <span>{write.count()}</span></p></div>"
        f"<div class='read_body'><div class='document_{write.count(9999)}_1 xe_content'>{page.paragraphs('<p>{}</p>')}</div></div>"
        f"<div class='read_footer'><div class='fileList'><strong>첨부 [1]</strong> <a>사진.jpg</a></div><div class='tns'><a class='document_like'>추천</a> <a>스크랩</a></div></div></div>"
        f"<div class='feedback' id='comment'><div class='fbHeader'><h2>댓글 <em>{write.count(20)}</em></h2></div><ul class='fbList'>"
        + page.some(2, 8, "<li class='fbItem'><div class='fbMeta'><h3 class='author'>{nick}</h3><p class='time'>{day} {clock}</p></div><div class='comment_{n}_1 xe_content'>{text}</div><p class='action'><a>댓글</a></p></li>")
        + f"</ul></div><table class='board_list'><tr><th>번호</th><th>제목</th><th>글쓴이</th></tr>{page.titles(12, '<tr><td class=no>{n}</td><td class=title><a>{}</a></td><td class=author>{nick}</td></tr>')}</table></div>",
        "xe",
    )  # fmt: skip


@template("forum", held_out=True)
def rhymix_sketchbook(page: Page) -> str:
    """Rhymix with a skin of the Sketchbook kind."""
    write = page.write
    return _xe(
        page,
        f"<div class='bd'><div class='rd rd_nav_style2 clear'><div class='rd_hd clear'><div class='board clear'><div class='top_area ngeb'><span class='date'>{write.day()}</span><h1 class='np_18px'><a>{page.title}</a></h1></div>"
        f"<div class='btm_area clear'><div class='side'><a class='nick'>{write.nick()}</a></div><div class='side fr'><span>조회 수 <b>{write.count()}</b></span> <span>추천 수 <b>{write.count(40)}</b></span></div></div></div>"
        f"<div class='rd_nav img_tx fr'><a>위로</a><a>아래로</a><a>댓글로 가기</a><a>인쇄</a></div></div><div class='rd_body clear'><article><div class='rhymix_content xe_content'>{page.paragraphs('<div>{}</div>')}</div></article></div>"
        f"<div class='rd_ft'><div class='vote'><a class='bd_login'>추천</a></div><div class='to_sns clear'><a>Facebook</a><a>Twitter</a></div></div></div>"
        f"<div class='cmt_wrt'><p>댓글 쓰기 권한이 없습니다. 로그인 하시겠습니까?</p></div><div id='cmtPosition'><div class='fdb_tag'><a>댓글 {write.count(20)}</a></div><ul class='fdb_lst_ul'>"
        + page.some(1, 7, "<li class='fdb_itm clear'><div class='meta'><a class='nick'>{nick}</a> <span class='date'>{day} {clock}</span></div><div class='xe_content comment_{n}'>{text}</div><div class='fdb_nav img_tx'><a>댓글</a></div></li>")
        + "</ul></div></div>",
        "rx_layout",
    )  # fmt: skip


@template("forum")
def gallery_board(page: Page) -> str:
    """A gallery of the DC kind: the post, the comments as a list, the list of the board under them."""
    write = page.write
    return document(
        page,
        f"<div id='top' class='dcwrap'><header class='dcheader'><ul class='area_links'>{page.menu(0)}</ul></header><div class='gnb_bar'><ul>{page.menu(3)}</ul></div><div id='container'><section class='left_content'>"
        f"<header><div class='page_head'><h2><a>맷돌 갤러리</a></h2></div></header><div class='view_content_wrap'><header><div class='gallview_head'><h3 class='title'><span class='title_headtext'>[일반]</span><span class='title_subject'>{page.title}</span></h3>"
        f"<div class='gall_writer'><span class='nickname'>{write.nick()}</span><span class='ip'>(118.235)</span><span class='gall_date'>{write.day()} {write.clock()}</span><span class='gall_count'>조회 {write.count()}</span><span class='gall_reply_num'>추천 {write.count(90)}</span></div></div></header>"
        f"<div class='gallview_contents'><div class='inner'><div class='writing_view_box'><div class='write_div'>{page.paragraphs('<p>{}</p>', 1, 5)}</div></div><div class='btn_recommend_box'><p class='up_num'>{write.count(90)}</p><button>추천</button><button>비추천</button></div></div></div></div>"
        f"<div class='view_comment'><div class='comment_wrap show'><div class='comment_count'>전체 댓글 <em>{write.count(50)}</em>개</div><div class='comment_box'><ul class='cmt_list'>"
        + page.some(3, 14, "<li class='ub-content'><div class='cmt_info clear'><div class='cmt_nickbox'><span class='gall_writer'><em>{nick}</em></span></div><div class='clear cmt_txtbox'><p class='usertxt ub-word'>{text}</p></div><div class='fr clear'><span class='date_time'>{day} {clock}</span></div></div></li>")
        + f"</ul></div></div></div><table class='gall_list'>{page.titles(15, '<tr class=us-post><td class=gall_num>{n}</td><td class=gall_tit><a>{}</a></td><td class=gall_writer>{nick}</td><td class=gall_date>{day}</td></tr>')}</table></section>"
        f"<section class='right_content'><div class='login_box'>로그인해 주세요.</div><div class='content_box'><h3>실시간 베스트</h3><ol>{page.titles(8, '<li><a>{}</a></li>')}</ol></div></section></div><footer class='dcfoot'>{page.footer()}</footer></div>",
    )  # fmt: skip


@template("forum", held_out=True)
def community_board(page: Page) -> str:
    """A community site with its own system: post, best comments, comments in boxes, lists on both sides."""
    write = page.write
    return document(
        page,
        f"<div class='nav_container'><div class='nav_menu'>{page.menu(0, '<a class=menu-list href=/s/{n}><span class=menu_over>{}</span></a>')}</div></div><div class='content_view'><div class='post_view'>"
        f"<h3 class='post_subject'><span>{page.title}</span></h3><div class='post_info'><span class='contact_name'><span class='nickname'>{write.nick()}</span></span><div class='post_author'><span>{write.day()} {write.clock()}</span><span class='view_count'>{write.count()}</span></div></div>"
        f"<div class='post_content'><article><div class='post_article'>{page.paragraphs('<p>{}</p>', 2, 6)}</div></article></div><div class='post_button'><a class='symph_count'>공감 {write.count(60)}</a><a>신고하기</a></div></div>"
        f"<div class='comment'><div class='comment_head'><strong>댓글 {write.count(40)}</strong><a>새로고침</a></div>"
        + page.some(2, 10, "<div class='comment_row'><div class='comment_info'><span class='nickname'>{nick}</span><span class='timestamp'>{clock}</span></div><div class='comment_content'><div class='comment_view'>{text}</div></div><div class='comment_reply_link'>답글쓰기</div></div>")
        + f"</div><div class='board_nav'><a>이전글</a><a>다음글</a><a>목록</a></div></div><div class='side'>{page.titles(10, '<a class=side_item href=/p/{n}>{} <em>{n}</em></a>')}</div><div class='footer'>{page.footer()}</div>",
    )  # fmt: skip


@template("forum")
def question_board(page: Page) -> str:
    """Questions and answers of the knowledge kind."""
    write = page.write
    page.title = page.title + " 어떻게 하나요?"
    return document(
        page,
        f"<div id='header'><ul>{page.menu(0)}</ul></div><div id='content' class='content'><div class='question-content'><div class='c-heading'><div class='c-heading__title'><div class='title'>{page.title}</div></div><div class='c-heading__content'>{page.paragraphs('{}<br>', 1, 2)}</div>"
        f"<div class='c-userinfo'><span class='c-userinfo__author'>비공개</span> <span class='c-userinfo__info'>작성일 {write.day()}</span> <span>조회수 {write.count()}</span></div></div></div><div class='answer-content'><h3>{write.count(9)}개 답변</h3>"
        + "".join(
            f"<div class='answer-content__item'><div class='c-heading-answer'><p class='c-heading-answer__title'>{write.nick()}님의 답변</p><span>채택답변수 {write.count(900)}</span></div><div class='se-viewer'><div class='se-main-container'>{page.paragraphs('<div class=se-text><p class=se-text-paragraph>{}</p></div>', 1, 4)}</div></div><div class='c-heading-answer__content-date'>{write.day()}</div><button>의견 쓰기</button></div>"
            for _ in range(page.dice.randint(1, 4))
        )
        + f"</div></div><div class='aside'><h3>이 질문과 비슷한 질문</h3><ul>{page.titles(6, '<li><a>{}</a></li>')}</ul></div><div id='footer'>{page.footer(2)}</div>",
    )  # fmt: skip
