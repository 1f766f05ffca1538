"""The rule book: every patterned kind of personal data as a pattern, what may stand beside it, a check and its scores.

One table, two engines: the kernels walk it as an automaton (`stages.pii.kernels.scan`), presidio runs the same patterns, sides
and checks as recognisers (`stages.pii.engines.presidio`); a differential test holds them to the same spans.

A rule's match at a start is the *longest* text of its pattern whose right side is free and whose check does not refuse
it. Scores are percentages in three situations - no label beside it, a label of its own kind, a label of another kind of
number (an order, a version) - once for what the check calls weak (form only) and once for strong (form and checksum, or a
form that nothing else has). What stays below the stage's `min_score`, 50, is not reported.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

# What may stand beside a match. Each names a neighbour that the rule does NOT accept there; letters are ASCII letters, so
# that Hangul, directly attached, never hides a match.
WORD = 1
"""a letter or digit"""
UNDER = 2
"""an underscore"""
JOIN = 4
"""`-` or `.` with a digit on its other side"""
LINK = 8
"""`-` or `.` with a letter or underscore on its other side"""
COLON = 16
"""`:`"""
SLASH = 32
"""`/` with a letter or digit on its other side"""
SPACED = 64
"""a blank with a digit on its other side"""
PLUS = 128
"""`+`"""
DASH = 256
"""`-`"""
URL = 512
"""`/` or `=` inside a URL: what follows names a page, not a payment"""

LEFT_SIDES = {
    WORD: r"(?<![0-9A-Za-z])",
    UNDER: r"(?<!_)",
    JOIN: r"(?<![0-9][-.])",
    LINK: r"(?<![A-Za-z_][-.])",
    COLON: r"(?<!:)",
    SLASH: r"(?<![0-9A-Za-z]/)",
    SPACED: r"(?<![0-9] )",
    PLUS: r"(?<!\+)",
    DASH: r"(?<!-)",
    URL: r"(?<!://[!#-&(-;=?-~]{0,255}[/=])",
}
RIGHT_SIDES = {
    WORD: r"(?![0-9A-Za-z])",
    UNDER: r"(?!_)",
    JOIN: r"(?![-.][0-9])",
    LINK: r"(?![-.][A-Za-z_])",
    COLON: r"(?!:)",
    SLASH: r"(?!/[0-9A-Za-z])",
    SPACED: r"(?! [0-9])",
    PLUS: r"(?!\+)",
    DASH: r"(?!-)",
}
TIGHT = WORD | UNDER | JOIN | LINK
LOOSE = WORD | JOIN

CHECKS: tuple[str, ...] = (
    "strong",
    "weak",
    "some_digit",
    "phone_international",
    "phone_dialled",
    "phone_toll",
    "phone_not_toll",
    "phone_any",
    "phone_service",
    "card_grouped",
    "card_bare",
    "rrn",
    "rrn_bare",
    "frn",
    "frn_bare",
    "brn",
    "corp",
    "license",
    "bank",
    "plate",
    "iban",
    "ipv4_public",
    "ipv4_private",
    "ipv6_public",
    "ipv6_private",
    "mac",
    "ssn",
    "base58",
    "bech32",
    "pem",
    "mail",
    "mixed",
)
NUMBER = {name: index for index, name in enumerate(CHECKS)}


class PatternRule(NamedTuple):
    """One line of the rule book. `pattern` is empty for rules whose kernel is not the automaton (mail, addresses)."""

    name: str
    entity: str
    pattern: str
    check: str
    left: int
    right: int
    labels: str
    weak: tuple[int, int, int]
    strong: tuple[int, int, int]
    region: bool = False
    """Does a region's name standing right before it (`서울 12가3456`) belong to the value?"""


NO = (0, 0, 0)
SEP = "(?: ?[-.] ?|[)] ?| )"
CARD_SEP = "(?: ?- ?| |[.])"
AREA = "(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4])"
NEXT = "(?:[)][-. ]?|[-. ][(]?|[(])"
HEX2, HEX4 = "[0-9A-Fa-f]{2}", "[0-9A-Fa-f]{4}"
BASE58 = "[1-9A-HJ-NP-Za-km-z]"
BASE64URL = "[A-Za-z0-9_-]"
PLATE = "[가나다라마거너더러머버서어저고노도로모보소오조구누두루무부수우주바사아자허하호배]"  # the syllables of the plate decree, rental and delivery
SPACED_MOBILE = "0 1 [016789] ?-? ?[0-9] [0-9] [0-9] [0-9] ?-? ?[0-9] [0-9] [0-9] [0-9]"
SPACED_BIRTH = "[0-9] [0-9] [0-9] [0-9] [0-9] [0-9] ?-? ?"
SPACED_SIX = " [0-9] [0-9] [0-9] [0-9] [0-9] [0-9]"


# fmt: off
def _book() -> list[PatternRule]:
    book: list[PatternRule] = []

    def rule(name, entity, pattern, check, left, right, labels="", weak=NO, strong=NO, region=False):
        book.append(PatternRule(name, entity, pattern, check, left, right, labels, weak, strong, region))

    # -- phone -------------------------------------------------------------------------------------------------------
    mobile = (85, 95, 60)
    rule("kr_mobile", "phone", f"(?:(?:[(]01[016789][)][-. ]?|01[016789]{SEP})[1-9][0-9]{{2,3}}(?:{SEP})?|01[016789]~[1-9][0-9]{{2,3}}~)[0-9]{{4}}", "some_digit", JOIN, LOOSE, "phone", strong=mobile)
    rule("kr_mobile_bare", "phone", "01[016789][1-9][0-9]{7}", "some_digit", TIGHT, LOOSE, "phone", strong=(75, 95, 0))
    rule("kr_mobile_old", "phone", "01[16789][1-9][0-9]{6}", "weak", TIGHT, LOOSE, "phone", weak=(30, 85, 0))
    rule("kr_mobile_82", "phone", f"(?:[(][+]?82[)]|[+]?82[)]?)[-. ]?(?:0|[(]0[)])?1[016789](?:{SEP})?[1-9][0-9]{{2,3}}(?:{SEP})?[0-9]{{4}}", "some_digit", LOOSE | PLUS, LOOSE, "phone", strong=(90, 95, 50))
    rule("kr_mobile_spaced", "phone", SPACED_MOBILE, "some_digit", LOOSE | SPACED, LOOSE | SPACED, "phone", strong=(70, 90, 0))
    rule("kr_landline", "phone", f"(?:[(]0{AREA}[)][-. ]?|0{AREA}{SEP})[1-9][0-9]{{2,3}}{SEP}[0-9]{{4}}", "some_digit", JOIN | SPACED, LOOSE, "phone", strong=(80, 95, 0))
    rule("kr_landline_bare", "phone", f"0{AREA}[1-9][0-9]{{6,7}}", "weak", TIGHT, LOOSE, "phone", weak=(20, 85, 0))
    rule("kr_virtual", "phone", f"(?:[(]0(?:70|50[2-8])[)][-. ]?|0(?:70|50[2-8]){SEP})[1-9][0-9]{{2,3}}{SEP}[0-9]{{4}}", "strong", JOIN, LOOSE, "phone", strong=(85, 95, 40))
    rule("kr_virtual_bare", "phone", "0(?:70[1-9]|50[2-8][1-9])[0-9]{7}", "strong", TIGHT, LOOSE, "phone", strong=(60, 90, 0))
    rule("international", "phone", f"[+][1-9][0-9]{{0,14}}(?:{NEXT}[0-9]{{1,8}}){{0,6}}(?:x[0-9]{{1,5}})?", "phone_international", LOOSE | PLUS, LOOSE, "phone", weak=(30, 85, 0), strong=(75, 95, 0))
    rule("dialled", "phone", f"00[1-9][0-9]{{0,2}}-[0-9]{{1,4}}(?:{NEXT}[0-9]{{1,8}}){{1,5}}", "phone_dialled", TIGHT, LOOSE, "phone", strong=(65, 95, 0))
    nanp = "(?:[+]?1[-. ])?(?:[(][2-9][0-9]{2}[)] ?|[2-9][0-9]{2}[-.])[0-9]{3}[-.][0-9]{4}(?: ?(?:x|ext[.]? ?)[0-9]{1,5})?"
    rule("north_american", "phone", nanp, "phone_not_toll", TIGHT, LOOSE | UNDER, "phone", strong=(65, 90, 0))
    rule("labelled", "phone", f"(?:[(][0-9]{{1,5}}[)][-. ]?)?[0-9]{{1,12}}(?:{NEXT}[0-9]{{1,8}}){{0,5}}(?:x[0-9]{{1,5}})?", "phone_any", TIGHT | SPACED, LOOSE, "phone", weak=(10, 70, 0))
    apart = "(?:[(]0[1-9][0-9]{0,3}[)]|0[1-9][0-9]{0,3})(?: ?/ ?| - ?)[0-9]{2,8}(?:[-. ][0-9]{1,8}){0,4}"
    rule("labelled_apart", "phone", apart, "phone_any", TIGHT | SPACED, LOOSE, "phone", weak=(10, 70, 0))
    rule("kr_hotline", "phone_service", "1[568][0-9]{2} ?[-.] ?[0-9]{4}", "phone_service", TIGHT, LOOSE, "phone", weak=(20, 80, 0), strong=(70, 85, 0))
    rule("kr_hotline_bare", "phone_service", "1[568][0-9]{6}", "phone_service", TIGHT, LOOSE, "phone", weak=(10, 80, 0), strong=(20, 80, 0))
    rule("kr_free", "phone_service", f"0[68]0{SEP}[0-9]{{3,4}}{SEP}[0-9]{{4}}", "strong", JOIN, LOOSE, "phone", strong=(80, 90, 0))
    rule("toll_free", "phone_service", nanp, "phone_toll", TIGHT, LOOSE | UNDER, "phone", strong=(65, 90, 0))

    # -- money -------------------------------------------------------------------------------------------------------
    grouped = (90, 99, 30)
    rule("card_grouped", "card", f"[0-9]{{4}}(?:{CARD_SEP}[0-9]{{4}}){{3}}(?:{CARD_SEP}[0-9]{{3}})?", "card_grouped", LOOSE, LOOSE, "card", weak=(20, 85, 0), strong=grouped)
    rule("card_amex", "card", f"3[47][0-9]{{2}}{CARD_SEP}[0-9]{{6}}{CARD_SEP}[0-9]{{5}}", "card_grouped", LOOSE, LOOSE, "card", strong=grouped)
    rule("card_diners", "card", f"3[0689][0-9]{{2}}{CARD_SEP}[0-9]{{6}}{CARD_SEP}[0-9]{{4}}", "card_grouped", LOOSE, LOOSE, "card", strong=grouped)
    rule("card_bare", "card", "[0-9]{12,19}", "card_bare", TIGHT | URL, LOOSE | UNDER, "card", weak=(40, 90, 0), strong=(80, 95, 0))
    rule("iban", "iban", "[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?", "iban", WORD | UNDER, WORD | UNDER, "iban", strong=(95, 99, 60))
    rule("kr_bank", "kr_bank_account", "[0-9]{2,6}(?: ?- ?[0-9]{1,8}){1,4}", "bank", TIGHT, LOOSE, "bank bank_name bank_word", weak=(20, 80, 0))
    rule("kr_bank_spaced", "kr_bank_account", "[0-9]{3,6}(?: [0-9]{2,7}){1,3}", "bank", TIGHT | SPACED, LOOSE, "bank bank_name bank_word", weak=(10, 70, 0))
    rule("kr_bank_bare", "kr_bank_account", "[0-9]{10,16}", "bank", TIGHT, LOOSE, "bank bank_name bank_word", weak=(10, 75, 0))

    # -- net ---------------------------------------------------------------------------------------------------------
    ipv4 = "[0-9]{1,3}(?:[.][0-9]{1,3}){3}"
    rule("ipv4", "ip", ipv4, "ipv4_public", TIGHT | SLASH, TIGHT, "ip", weak=(30, 80, 0), strong=(80, 95, 0))
    rule("ipv4_private", "ip_private", ipv4, "ipv4_private", TIGHT | SLASH, TIGHT, "ip", weak=(30, 80, 0), strong=(80, 95, 0))
    ipv6 = "[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?:[.][0-9]{1,3}){0,3}"
    rule("ipv6", "ip", ipv6, "ipv6_public", WORD | UNDER | COLON, WORD | UNDER | COLON | JOIN, "ip", weak=(30, 80, 0), strong=(85, 95, 50))
    rule("ipv6_private", "ip_private", ipv6, "ipv6_private", WORD | UNDER | COLON, WORD | UNDER | COLON | JOIN, "ip", weak=(30, 80, 0), strong=(85, 95, 50))
    rule("mac", "mac", f"{HEX2}(?::{HEX2}){{5}}", "mac", WORD | UNDER | COLON, WORD | UNDER | COLON, "mac", weak=(40, 80, 0), strong=(85, 95, 30))
    rule("mac_hyphen", "mac", f"{HEX2}(?:-{HEX2}){{5}}", "mac", TIGHT, TIGHT, "mac", weak=(30, 80, 0), strong=(80, 95, 30))
    rule("mac_dotted", "mac", f"{HEX4}[.]{HEX4}[.]{HEX4}", "mac", TIGHT, TIGHT, "mac", weak=(10, 80, 0), strong=(40, 90, 0))

    # -- ids of Korea ------------------------------------------------------------------------------------------------
    rule("rrn", "kr_rrn", "[0-9]{6}(?: ?[-.~] ?| )[1-4][0-9]{6}", "rrn", LOOSE, LOOSE, "rrn", weak=(40, 90, 0), strong=(95, 99, 0))
    rule("rrn_bare", "kr_rrn", "[0-9]{6}[1-4][0-9]{6}", "rrn_bare", TIGHT, LOOSE | UNDER, "rrn", weak=(20, 85, 0), strong=(80, 97, 0))
    rule("rrn_spaced", "kr_rrn", f"{SPACED_BIRTH}[1-4]{SPACED_SIX}", "rrn", LOOSE | SPACED, LOOSE | SPACED, "rrn", weak=(20, 85, 0), strong=(80, 97, 0))
    rule("frn", "kr_frn", "[0-9]{6}(?: ?[-.~] ?| )[5-8][0-9]{6}", "frn", LOOSE, LOOSE, "frn rrn", weak=(55, 90, 0), strong=(95, 99, 0))
    rule("frn_bare", "kr_frn", "[0-9]{6}[5-8][0-9]{6}", "frn_bare", TIGHT, LOOSE | UNDER, "frn rrn", weak=(20, 85, 0), strong=(80, 97, 0))
    rule("frn_spaced", "kr_frn", f"{SPACED_BIRTH}[5-8]{SPACED_SIX}", "frn", LOOSE | SPACED, LOOSE | SPACED, "frn rrn", weak=(20, 85, 0), strong=(80, 97, 0))
    # The right form beside its own label, whatever its date or check digit: typing errors are somebody's number all the same.
    for kind in ("rrn", "frn"):
        rule(f"{kind}_form", f"kr_{kind}", "[0-9]{6}(?: ?[-.~] ?| )[0-9]{7}", "weak", LOOSE, LOOSE, kind, weak=(0, 60, 0))
        rule(f"{kind}_form_bare", f"kr_{kind}", "[0-9]{13}", "weak", TIGHT, LOOSE | UNDER, kind, weak=(0, 55, 0))
    rule("passport", "kr_passport", "[MSRODmsrod][0-9]{3}[A-Za-z][0-9]{4}", "weak", TIGHT | SLASH, TIGHT, "passport", weak=(60, 95, 0))
    rule("passport_old", "kr_passport", "[MSRODGmsrodg][0-9]{8}", "weak", TIGHT | SLASH, TIGHT, "passport", weak=(30, 90, 0))
    rule("passport_any", "kr_passport", "(?:[A-Za-z]{1,2}|[A-Z] )[0-9]{6,8}", "weak", TIGHT | SLASH, TIGHT, "passport", weak=(0, 85, 0))
    rule("passport_digits", "kr_passport", "[0-9]{9}", "weak", TIGHT | SLASH, TIGHT, "passport", weak=(0, 70, 0))
    rule("license", "kr_driver_license", f"[0-9]{{2}}{SEP}[0-9]{{2}}{SEP}[0-9]{{6}}{SEP}[0-9]{{2}}", "license", LOOSE, LOOSE, "license", strong=(80, 96, 0))
    rule("license_bare", "kr_driver_license", "[0-9]{12}", "license", TIGHT, LOOSE | UNDER, "license", strong=(20, 90, 0))
    rule("license_region", "kr_driver_license", f"[0-9]{{2}}{SEP}[0-9]{{6}}{SEP}[0-9]{{2}}", "weak", LOOSE, LOOSE, "license region", weak=(30, 90, 0), region=True)
    rule("brn", "kr_brn", "[0-9]{3}(?: ?- ?|[. ])[0-9]{2}(?: ?- ?|[. ])[0-9]{5}", "brn", LOOSE, LOOSE, "brn", strong=(85, 97, 0))
    rule("brn_bare", "kr_brn", "[0-9]{10}", "brn", TIGHT, LOOSE | UNDER, "brn", strong=(20, 92, 0))
    rule("brn_form", "kr_brn", "[0-9]{3}(?: ?- ?|[. ])[0-9]{2}(?: ?- ?|[. ])[0-9]{5}", "weak", LOOSE, LOOSE, "brn", weak=(0, 60, 0))
    rule("brn_form_bare", "kr_brn", "[0-9]{10}", "weak", TIGHT, LOOSE | UNDER, "brn", weak=(0, 55, 0))
    rule("corp", "kr_corp", "[0-9]{6} ?- ?[0-9]{7}", "corp", LOOSE, LOOSE, "corp", weak=(20, 98, 0), strong=(40, 100, 0))
    rule("corp_bare", "kr_corp", "[0-9]{13}", "corp", TIGHT, LOOSE | UNDER, "corp", weak=(10, 98, 0), strong=(30, 99, 0))
    rule("health", "kr_health_insurance", "[1-9] ?-? ?[0-9]{10}", "strong", LOOSE, LOOSE, "health", strong=(20, 93, 0))
    rule("ssn", "us_ssn", "[0-9]{3}-[0-9]{2}-[0-9]{4}", "ssn", TIGHT, LOOSE | UNDER, "ssn", strong=(60, 95, 0))
    rule("ssn_spaced", "us_ssn", "[0-9]{3}[ .][0-9]{2}[ .][0-9]{4}", "ssn", TIGHT | SPACED, LOOSE | UNDER | SPACED, "ssn", strong=(10, 90, 0))
    rule("ssn_bare", "us_ssn", "[0-9]{9}", "ssn", TIGHT, LOOSE | UNDER, "ssn", strong=(5, 85, 0))
    rule("plate", "kr_plate", f"[0-9]{{2,3}}{PLATE} ?[0-9]{{4}}", "plate", LOOSE | UNDER, LOOSE | UNDER, "plate region", weak=(30, 90, 0), strong=(70, 92, 0), region=True)

    # -- wallets and keys --------------------------------------------------------------------------------------------
    whole = WORD | UNDER
    rule("base58", "crypto", f"[13LMDT]{BASE58}{{25,34}}", "base58", whole, whole, "crypto", strong=(95, 99, 95))
    rule("bech32", "crypto", "(?:bc1|tb1|ltc1)[02-9ac-hj-np-z]{11,71}", "bech32", whole, whole, "crypto", strong=(95, 99, 95))
    rule("ethereum", "crypto", "0x[0-9a-fA-F]{40}", "strong", whole, whole, "crypto", strong=(80, 95, 30))
    for name, pattern in _SECRETS.items():
        rule(name, "secret", pattern, "pem" if name == "private_key" else "mixed", whole if name == "private_key" else whole | DASH, 0, "", strong=(95, 95, 95))
    rule("connection_password", "secret", "(?:[Pp]assword|PASSWORD|[Pp]wd|PWD) ?= ?[^ ;\"'<>&{}()\n\r\t]{4,64};", "strong", whole, 0, "", strong=(70, 70, 70))

    # -- found by kernels of their own -------------------------------------------------------------------------------
    rule("mail", "email", "", "mail", 0, 0, "", strong=(95, 95, 95))
    rule("mail_spelled", "email", "", "strong", 0, 0, "", strong=(80, 80, 80))
    rule("credentials", "url_credentials", "", "strong", 0, 0, "", strong=(95, 95, 95))
    rule("road_address", "kr_address", "", "strong", 0, 0, "address", strong=(85, 95, 85))
    rule("lot_address", "kr_address", "", "strong", 0, 0, "address", strong=(80, 95, 80))
    rule("labelled_address", "kr_address", "", "weak", 0, 0, "address", weak=(30, 70, 0))
    return book


_SECRETS = {
    "private_key": "BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----",
    "aws_key_id": "(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ANVA)[0-9A-Z]{16}",
    "github": "gh[pousr]_[A-Za-z0-9]{36}[A-Za-z0-9]*",
    "github_fine": "github_pat_[A-Za-z0-9_]{40}[A-Za-z0-9_]*",
    "gitlab": f"glpat-{BASE64URL}{{20}}{BASE64URL}*",
    "slack": "xox[abeprs]-[A-Za-z0-9-]{10}[A-Za-z0-9-]*",
    "slack_hook": "hooks\\.slack\\.com/services/T[A-Z0-9]{8,12}/B[A-Z0-9]{8,12}/[A-Za-z0-9]{20}[A-Za-z0-9]*",
    "google_key": f"AIza{BASE64URL}{{35}}",
    "google_oauth": f"ya29\\.{BASE64URL}{{20}}{BASE64URL}*",
    "google_secret": f"GOCSPX-{BASE64URL}{{28}}",
    "stripe": "(?:sk|rk)_(?:live|test)_[0-9A-Za-z]{16}[0-9A-Za-z]*",
    "openai": f"sk-(?:proj-|svcacct-|admin-|ant-){BASE64URL}{{32}}{BASE64URL}*",
    "openai_old": "sk-[A-Za-z0-9]{32}[A-Za-z0-9]*",
    "hugging_face": "hf_[A-Za-z0-9]{34}[A-Za-z0-9]*",
    "npm": "npm_[A-Za-z0-9]{36}",
    "pypi": f"pypi-AgEIcHlwaS5vcmc{BASE64URL}{{50}}{BASE64URL}*",
    "sendgrid": f"SG\\.{BASE64URL}{{22}}\\.{BASE64URL}{{43}}",
    "twilio": "(?:SK|AC)[0-9a-f]{32}",
    "telegram": f"[0-9]{{8,10}}:AA{BASE64URL}{{33}}",
    "aws_secret": "(?:aws|AWS)_(?:secret|SECRET)_(?:access|ACCESS)_(?:key|KEY)[\"']? ?[=:] ?[\"']?[A-Za-z0-9/+]{40}",
    "azure_shared": "SharedAccessKey=[A-Za-z0-9+/]{43}=",
    "jdbc_password": "jdbc:[a-z]{2,12}://[A-Za-z0-9.:/_-]{1,60}[?](?:user=[A-Za-z0-9_.]{1,24}&)?password=[!#-%*-:=?-~]{4,40}",
    "digitalocean": "do[opr]_v1_[a-f0-9]{64}",
    "azure_account": "AccountKey=[A-Za-z0-9+/]{86}==",
    "json_web_token": f"eyJ{BASE64URL}{{8}}{BASE64URL}*\\.eyJ{BASE64URL}{{8}}{BASE64URL}*\\.{BASE64URL}{{16}}{BASE64URL}*",
}
"""Forms that their issuers document as recognisable (prefix, alphabet, length)."""


# fmt: on


@cache
def rule_book() -> tuple[PatternRule, ...]:
    """All rules; a rule's position in it is its number everywhere."""
    return tuple(_book())
