"""Pages in the DOM of Korean shopping systems."""

from __future__ import annotations

from tests.bench.ingest.korean.parts import Page, document, template


def _facts(page: Page, row: str) -> str:
    """A table of what the goods are: main text, each cell."""
    write = page.write
    given = [
        ("원산지", "국내산"),
        ("제조사", "(주)맷돌상사"),
        ("판매가", write.price() + "원"),
        ("용량", f"{write.count(900)}g"),
        ("소재", write.noun()),
    ]
    return "".join(row.format(page.keep(head), page.keep(cell)) for head, cell in given)


@template("product")
def cafe_mall(page: Page) -> str:
    """`xans-product` modules: facts in a table, the description, reviews, questions."""
    return document(
        page,
        f"<div id='wrap'><div id='header'><ul class='xans-layout-statelogoff'>{page.menu(2)}</ul></div><div id='container'><div id='contents'><div class='xans-element- xans-product xans-product-detail'><div class='headingArea'><h2>{page.keep(page.title)}</h2></div><div class='infoArea'><div class='xans-product-detaildesign'><table><tbody>{_facts(page, '<tr class=xans-record-><th>{}</th><td>{}</td></tr>')}</tbody></table></div>"
        f"<table class='xans-product-option'><tr><th>옵션</th><td><select><option>- [필수] 옵션을 선택해 주세요 -</option></select></td></tr></table><div class='ec-base-button'><a>BUY NOW</a><a>장바구니</a><a>관심상품</a></div></div></div>"
        f"<div class='xans-product-additional'><div id='prdDetail'><ul class='menu'><li>상품상세정보</li><li>상품구매안내</li></ul><div class='cont'>{page.paragraphs('<p>{}</p>', 2, 5)}</div></div><div id='prdReview'><h3>상품사용후기</h3>"
        + page.some(1, 5, "<div class='review'><strong>{nick}</strong> {day} <span class='point'>★★★★★</span><p>{text}</p></div>")
        + f"</div><div id='prdInfo'><h3>배송안내</h3><p>배송 방법 : 택배 배송 지역 : 전국지역 배송 비용 : 3,000원</p><h3>교환 및 반품</h3><p>상품 등을 수령하신 날로부터 7일 이내</p></div></div><div class='xans-product-relation'><h3>관련상품</h3><ul>{page.titles(6, '<li><a><img src=g.jpg></a><strong>{}</strong><span>{n}원</span></li>')}</ul></div></div></div><div id='footer'>{page.footer()}</div></div>",
    )  # fmt: skip


@template("product", held_out=True)
def godo_mall(page: Page) -> str:
    """Facts in definition lists, the description in a tab."""
    write = page.write
    return document(
        page,
        f"<div id='header_warp'><div class='top_area'><ul>{page.menu(2)}</ul></div></div><div class='sub_content'><div class='location_wrap'>홈 &gt; {write.noun()}</div><div class='item_photo_info_sec'><div class='item_info_box'><div class='item_tit_detail_cont'><h3>{page.keep(page.title)}</h3></div><div class='item_detail_list'>{_facts(page, '<dl><dt>{}</dt><dd>{}</dd></dl>')}</div>"
        f"<div class='btn_choice_box'><button>바로 구매</button><button>장바구니</button></div></div></div><div class='item_goods_sec'><div id='detail'><div class='item_goods_tab'><ul><li>상품상세정보</li><li>배송안내</li><li>상품후기</li></ul></div><div class='detail_cont'><div class='txt-manual'>{page.paragraphs('<div>{}</div>', 2, 6)}</div></div></div>"
        "<div id='reviews' class='reviews_table'><ul>"
        + page.some(1, 6, "<li><span>{nick}</span><em>{day}</em><div class='reviews_new_list'>{text}</div></li>")
        + f"</ul></div><div id='delivery'><p>배송은 결제일 기준 2~5일 정도 소요됩니다.</p></div></div><div class='item_gallery_type'><h3>이 상품과 함께 본 상품</h3>{page.titles(6, '<div class=item_cont><strong class=item_name>{}</strong><span class=item_price>{n}원</span></div>')}</div></div><div id='footer_wrap'>{page.footer()}</div>",
    )  # fmt: skip


@template("product")
def smart_store(page: Page) -> str:
    """A store in a portal: hashed class names, so that only the shape tells."""
    write = page.write
    return document(
        page,
        f"<div id='app'><div class='_1kvGJmCYBo'><ul>{page.menu(2)}</ul></div><div id='content' class='_2QyC0cWm7H'><fieldset class='_2ebZzo9mLB'><h3 class='_22kNQuEXmb'>{page.keep(page.title)}</h3><strong class='aICRqgP9zw'><span class='_1LY7DqCnwR'>{page.keep(write.price() + '원')}</span></strong><div class='_1rGSKv6aq_'>배송비 3,000원</div><a class='_2-uvQuRWK5'>구매하기</a><a>찜하기</a></fieldset>"
        f"<div id='INTRODUCE'><div class='attribute_wrapper'><table class='_1_UiXWHt__'><tbody>{_facts(page, '<tr><th class=_1iuv6pLHMD>{}</th><td class=ABROiEshTD>{}</td></tr>')}</tbody></table></div><div class='se-viewer'><div class='se-main-container'>{page.paragraphs('<div class=se-text><p class=se-text-paragraph><span>{}</span></p></div>', 2, 6)}</div></div></div>"
        "<div id='REVIEW'><h3>상품리뷰</h3><ul class='_2ms2i3dD92'>"
        + page.some(2, 6, "<li class='BnwL_cs1av'><div class='_2FmJXrTVEX'><em>5</em><strong>{nick}</strong><span>{day}</span></div><div class='_3z6gI4oI6l'><span>{text}</span></div><button>신고</button></li>")
        + f"</ul></div><div class='_25SqJYP9pX'><h3>함께 구매하면 좋은 상품</h3>{page.titles(6, '<li><strong>{}</strong><em>{n}원</em></li>')}</div></div><div class='_3HJHJjSrNK'>{page.footer()}</div></div>",
    )  # fmt: skip


@template("product", held_out=True, charset="cp949")
def make_shop(page: Page) -> str:
    """An older shop in tables and CP949."""
    return document(
        page,
        f"<table width=1000><tr><td>{page.menu(2, '<a href=/shop/{n}>{}</a> ')}</td></tr></table><table width=1000><tr><td width=180 valign=top>{page.titles(7, '<div><a href=/c/{n}>{}</a></div>')}</td><td><form name=form1><table width=100%><tr><td colspan=2><font size=3><b>{page.keep(page.title)}</b></font></td></tr>{_facts(page, '<tr><td width=100>{}</td><td><b>{}</b></td></tr>')}</table><a><img src=buy.gif alt=구매하기></a></form>"
        f"<table width=100% id=prod_info><tr><td>{page.paragraphs('<p>{}</p>', 2, 6)}</td></tr></table><table class=delivery><tr><td>배송/교환/반품 안내</td></tr><tr><td>평일 오후 3시 이전 주문은 당일 출고됩니다.</td></tr></table></td></tr></table><table width=1000><tr><td align=center>{page.footer()}</td></tr></table>",
    )  # fmt: skip
