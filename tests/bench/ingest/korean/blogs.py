"""Pages in the DOM of Korean blog systems."""

from __future__ import annotations

from tests.bench.ingest.korean.parts import Page, document, template


def _tistory(page: Page, body: str, frame: str) -> str:
    return document(
        page,
        f"<div id='{frame}'><header id='header'><h1><a href='/'>{page.write.nick()}의 기록</a></h1><nav id='gnb'><ul>{page.menu(3)}</ul></nav></header><div id='container'><main id='main'><div class='area_view'>{body}</div></main>"
        f"<aside id='aside'><div class='sidebar'><div class='box-category'><h3>카테고리</h3><ul class='tt_category'>{page.titles(5, '<li><a href=/category/{n}>{}</a></li>')}</ul></div>"
        f"<div class='box-recent'><h3>최근 글</h3><ul>{page.titles(5, '<li><a href=/{n}>{}</a></li>')}</ul></div><div class='box-visit'><h3>방문자</h3><p>Total <strong>{page.write.count(90000)}</strong></p></div></div></aside></div>"
        f"<footer id='footer'>{page.footer(2)}<p>Powered by 티스토리형 블로그</p></footer></div>",
    )  # fmt: skip


@template("article")
def tistory_post(page: Page) -> str:
    """A skin with `entry-content` and the system's own `contents_style`."""
    write = page.write
    return _tistory(
        page,
        f"<div class='article-header'><div class='inner-article'><strong class='title-article'>{page.title}</strong><p class='info'><span class='author'>{write.nick()}</span><span class='date'>{write.day()} {write.clock()}</span></p></div></div>"
        f"<div class='article-view' id='article-view'><div class='tt_article_useless_p_margin contents_style'>{page.paragraphs('<p data-ke-size=size16>{}</p>', 2, 5)}<h2 data-ke-size='size26'>{page.keep(write.title())}</h2>{page.paragraphs('<p data-ke-size=size16>{}</p>', 2, 5)}</div></div>"
        f"<div class='container_postbtn'><button>공감</button><button>공유하기</button><button>게시글 관리</button></div><div class='another_category'><h4>'{write.noun()}' 카테고리의 다른 글</h4><table>{page.titles(5, '<tr><th><a>{}</a></th><td>{day}</td></tr>')}</table></div>"
        f"<div class='article-tag'><h3>태그</h3>{page.titles(3, '<a rel=tag href=/tag/{n}>{}</a>')}</div><div class='article-reply'><h3>댓글</h3><ul class='list-reply'>"
        + page.some(1, 5, "<li id='comment{n}'><span class='profile'>{nick}</span><p class='text'>{text}</p><span class='date'>{day} {clock}</span><a>답글</a></li>")
        + "</ul><form><input placeholder='이름'><textarea placeholder='내용을 입력하세요'></textarea><button>등록</button></form></div>",
        "wrap",
    )  # fmt: skip


@template("article", held_out=True)
def tistory_old_skin(page: Page) -> str:
    """An older skin: `titleWrap`, `article`, `actionTrail`, trackbacks."""
    write = page.write
    return _tistory(
        page,
        f"<div class='entry'><div class='titleWrap'><h2><a href='/1'>{page.title}</a></h2><span class='category'><a>{write.noun()}</a></span> <span class='date'>{write.day()}</span></div>"
        f"<div class='article'>{page.paragraphs('<div>{}</div><div><br></div>', 3, 9)}<div class='tt-plugin tt-share-entry'><a>저작자표시</a></div></div>"
        f"<div class='actionTrail'><a>Trackback {write.count(3)}</a> <a>Comment {write.count(9)}</a></div><div class='comment'><ol>"
        + page.some(1, 6, "<li class='rp_general'><span class='name'>{nick}</span> <span class='date'>{day} {clock}</span> <a class='modify'>수정/삭제</a><p>{text}</p></li>")
        + f"</ol></div></div><div class='searchRplist'>{page.titles(6, '<li><a>{}</a> <span>{day}</span></li>')}</div>",
        "dkIndex",
    )  # fmt: skip


def _naver(page: Page, body: str) -> str:
    write = page.write
    return document(
        page,
        f"<div id='head-skin'><ul class='bloggnb'>{page.menu(3)}</ul></div><div id='whole-border'><div id='whole-body'><div id='wrapper'><div id='twocols'><div id='content-area'><div id='post-area'><div class='wrap_blog2_categorytop'><strong>전체보기</strong> {write.count(900)}개의 글 <a>목록열기</a></div>"
        f"<div id='post_1' class='_post_wrap'>{body}<div class='post-btn post_btn2'><a class='u_likeit_list_btn'>공감 {write.count(60)}</a><a>칭찬</a><a>인쇄</a></div><div class='wrap_postlist'><strong>이 블로그 전체글</strong><table>{page.titles(5, '<tr><td><a>{}</a></td><td>{day}</td></tr>')}</table></div></div></div></div>"
        f"<div id='left-area'><div id='blog-profile'><strong class='itemname'>{write.nick()}</strong><p class='caption'>{write.noun()} 이야기</p><a>이웃추가</a></div><div id='blog-category'><ul>{page.titles(6, '<li><a>{}</a></li>')}</ul></div></div></div></div></div></div><div id='floatingda'>{page.footer(1)}</div>",
    )  # fmt: skip


@template("article")
def naver_smart_editor(page: Page) -> str:
    """The editor of components: each paragraph in a module in a component."""
    write = page.write
    part = "<div class='se-component se-text'><div class='se-component-content'><div class='se-section se-section-text'><div class='se-module se-module-text'><p class='se-text-paragraph'><span class='se-fs-'>{}</span></p></div></div></div></div>"
    return _naver(
        page,
        f"<div class='se-viewer se-theme-default'><div class='se-component se-documentTitle'><div class='pcol1'><span>{page.title}</span></div><div class='blog2_container'><span class='nick'>{write.nick()}</span><span class='se_publishDate'>{write.day()} {write.clock()}</span><a>URL 복사</a><a>이웃추가</a></div></div>"
        f"<div class='se-main-container'>{page.paragraphs(part, 2, 5)}<div class='se-component se-image'><img src='a.jpg'></div><div class='se-component se-sectionTitle'><p class='se-text-paragraph'>{page.keep(write.title())}</p></div>{page.paragraphs(part, 2, 5)}"
        f"<div class='se-component se-oglink'><a class='se-oglink-info'><strong class='se-oglink-title'>{write.title()}</strong><p class='se-oglink-url'>blog.example.kr</p></a></div></div></div><div class='post_footer_contents'><div class='wrap_tag'>{page.titles(4, '<a class=item>#{}</a>')}</div></div>",
    )  # fmt: skip


@template("article", held_out=True)
def naver_old_editor(page: Page) -> str:
    """The view before it: tables around the post, one `postViewArea`, paragraphs of `P` and blanks."""
    write = page.write
    return _naver(
        page,
        f"<table class='post-top'><tr><td class='bcc'><div class='htitle'><span class='pcol1 itemSubjectBoldfont'>{page.title}</span> <span class='cate pcol2'><a>{write.noun()}</a></span></div><p class='date fil5 pcol2'>{write.day()} {write.clock()}</p></td></tr></table>"
        f"<table class='post-body'><tr><td class='bcc'><div id='postViewArea'><div class='post-view pcol2 _param'>{page.paragraphs('<P>{}</P><P>&nbsp;</P>', 3, 9)}</div></div></td></tr></table>"
        f"<div class='post_footer'><a>댓글 {write.count(20)}</a> <a>엮인글</a></div>",
    )  # fmt: skip


@template("article")
def developer_blog(page: Page) -> str:
    """A developers' blog: headings, a list, lines of code, a table of contents beside the text."""
    write, code = (
        page.write,
        [f"def step_{n}(value):\n    return value * {n + 2}" for n in range(page.dice.randint(1, 3))],
    )
    heads = [write.title() for _ in range(3)]
    body = "".join(
        f"<h2 id='h{n}'>{page.keep(head)}</h2>{page.paragraphs('<p>{}</p>', 1, 3)}<ul>{''.join(f'<li>{page.keep(write.sentences(1, 1))}</li>' for _ in range(3))}</ul>"
        + (f"<pre><code class='language-python'>{page.keep(code[n])}</code></pre>" if n < len(code) else "")
        for n, head in enumerate(heads)
    )
    return document(
        page,
        f"<div id='root'><div class='header'><a class='logo'>맷돌로그</a><a>새 글 작성</a></div><div class='post-head'><h1>{page.title}</h1><div class='information'><span class='username'>{write.nick()}</span>·<span>{write.day()}</span></div><div class='tags'>{page.titles(3, '<a class=tag>{}</a>')}</div></div>"
        f"<div class='toc'><ul>{''.join(f'<li><a href=#h{n}>{head}</a></li>' for n, head in enumerate(heads))}</ul></div><div class='atom-one markdown-body'>{body}</div>"
        f"<div class='linked-posts'><a>이전 포스트 <h3>{write.title()}</h3></a><a>다음 포스트 <h3>{write.title()}</h3></a></div><h4>{write.count(9)}개의 댓글</h4><textarea placeholder='댓글을 작성하세요'></textarea>"
        + page.some(1, 4, "<div class='comment'><div class='profile'><a>{nick}</a> {day}</div><div class='comment-text'><p>{text}</p></div><span>답글 달기</span></div>")
        + f"<div class='curation'><h4>관심 있을 만한 포스트</h4>{page.titles(6, '<div class=card><h4>{}</h4><span>{day}</span></div>')}</div></div>",
    )  # fmt: skip


@template("article", held_out=True)
def magazine_blog(page: Page) -> str:
    """A writers' platform: a cover, blocks of `wrap_item item_type_text`."""
    write = page.write
    return document(
        page,
        f"<div id='brunchHead'><a>가입하기</a><ul>{page.menu(3)}</ul></div><div class='wrap_view_article wrap_article'><div class='wrap_cover cover_item'><h1 class='cover_title'>{page.title}</h1><span class='txt_byline'>by <a>{write.person()}</a> {write.day()}</span></div>"
        f"<div class='wrap_body text_align_left finish_txt'>{page.paragraphs('<p class=wrap_item><span>{}</span></p><p class=wrap_item><br></p>', 4, 10)}</div></div>"
        f"<div class='wrap_article_info'><div class='list_keyword'>{page.titles(4, '<a class=link_keyword>{}</a>')}</div><strong class='author_name'>{write.person()}</strong><p>구독자 {write.count()}</p><a>구독하기</a></div><div class='article_comment'>"
        + page.some(1, 5, "<div class='cmt_item'><strong>{nick}</strong> <span>{day}</span><p class='desc_comment'>{text}</p></div>")
        + f"</div><div class='wrap_recommend'><h3>작품 선택</h3>{page.titles(6, '<a><strong>{}</strong></a>')}</div><div class='service_footer'>{page.footer(2)}</div>",
    )  # fmt: skip


@template("article", held_out=True)
def developers_blog(page: Page) -> str:
    """A blog of developers: sections under headings, code, a list, a table of contents beside the post."""
    write = page.write
    paragraph, code = "<p>{}</p>", "<pre><code class='language-text hljs'>{}</code></pre>"
    sections = "".join(
        f"{page.heading(2)}{page.paragraphs(paragraph, 1, 3)}{page.code(code)}{page.heading(3)}{page.paragraphs(paragraph, 1, 2)}"
        f"{page.listing(2, 4) if number else ''}"
        for number in range(2)
    )
    return document(
        page,
        f"<div id='root'><header class='header-wrap'><a class='logo' href='/'>기록</a><nav class='header-menu'><ul>{page.menu(3)}</ul></nav><button>새 글 작성</button></header>"
        f"<div class='post-head'><h1>{page.title}</h1><div class='information'><span class='username'><a>{write.nick()}</a></span><span class='separator'>·</span><span>{write.day()}</span><button>팔로우</button></div><div class='tags'>{page.titles(3, '<a class=tag>{}</a>')}</div></div>"
        f"<div class='toc-positioner'><div class='toc-wrapper'>{page.titles(3, '<div class=toc-item><a href=#{n}>{}</a></div>')}</div></div><div class='post-content'><div class='atom-one'>{sections}</div></div>"
        f"<div class='profile'><div class='name'>{write.nick()}</div><div class='description'>{write.noun()} 하는 사람</div></div><div class='post-links'>{page.titles(2, '<a><div class=description>이전 포스트</div><h3>{}</h3></a>')}</div>"
        "<div class='comments'><h4>댓글</h4><div class='comment-list'>"
        + page.some(1, 3, "<div class='comment'><div class='comment-head'><span class='username'>{nick}</span><span class='date'>{day}</span></div><div class='comment-text'><p>{text}</p></div><a>답글 달기</a></div>")
        + f"</div></div><div class='related-post'><h4>관심 있을 만한 포스트</h4>{page.titles(4, '<div class=card><a><h4>{}</h4></a><span>{day}</span></div>')}</div><footer>{page.footer(2)}</footer></div>",
    )  # fmt: skip
