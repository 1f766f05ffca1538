"""What is looked for: one row per kind of personal data, with its tag, its name in presidio and what happens by default."""

from __future__ import annotations

from typing import NamedTuple


class Entity(NamedTuple):
    """A kind of personal data.

    `presidio` is the name presidio (or its documentation) has for it. `default` is the action taken when the options say
    nothing. `names` marks the kinds that need the names cascade, which is off unless asked for.
    """

    name: str
    presidio: str
    help: str
    default: str = ""
    names: bool = False


ENTITIES: tuple[Entity, ...] = (
    Entity("email", "EMAIL_ADDRESS", "mail address; also written with %40 or a full-width @"),
    Entity(
        "phone",
        "PHONE_NUMBER",
        "number of a person or office: Korean mobile, landline, 070 and 050x, international, North American",
    ),
    Entity(
        "phone_service",
        "PHONE_SERVICE",
        "public hotline: 15xx/16xx/18xx, 080, 060, toll-free; recorded and left in place",
        default="keep",
    ),
    Entity("card", "CREDIT_CARD", "payment card: issuer range and Luhn; Korean domestic cards begin with 9"),
    Entity("iban", "IBAN_CODE", "international bank account: country length and mod 97"),
    Entity("ip", "IP_ADDRESS", "public IPv4 or IPv6 address"),
    Entity("ip_private", "IP_ADDRESS_PRIVATE", "private, loopback, link-local or shared IPv4 or IPv6 address"),
    Entity("mac", "MAC_ADDRESS", "hardware address of a network device"),
    Entity("url_credentials", "URL_CREDENTIALS", "URL or connection string with user and password in it"),
    Entity("crypto", "CRYPTO", "Bitcoin and kin (checksum verified) or Ethereum address"),
    Entity(
        "secret", "SECRET", "private key, cloud or code-host token, JSON web token, password of a connection string"
    ),
    Entity("us_ssn", "US_SSN", "United States social security number"),
    Entity("kr_rrn", "KR_RRN", "Korean resident registration number"),
    Entity("kr_frn", "KR_FRN", "Korean foreigner registration number"),
    Entity("kr_passport", "KR_PASSPORT", "Korean passport number, both series; any passport number beside its label"),
    Entity("kr_driver_license", "KR_DRIVER_LICENSE", "Korean driver's licence number"),
    Entity("kr_brn", "KR_BRN", "Korean business registration number (checksum)"),
    Entity("kr_corp", "KR_CORP", "Korean corporate registration number"),
    Entity("kr_health_insurance", "KR_HEALTH_INSURANCE", "Korean health insurance certificate number"),
    Entity(
        "kr_bank_account", "KR_BANK_ACCOUNT", "Korean bank account: a number that a bank or the word account introduces"
    ),
    Entity("kr_plate", "KR_PLATE", "Korean vehicle plate"),
    Entity("kr_address", "KR_ADDRESS", "Korean postal address with a building number, by road name or by lot"),
    Entity("person", "PERSON", "name of a person", names=True),
    Entity("place", "LOCATION", "name of a place", names=True),
)
BY_NAME: dict[str, Entity] = {entity.name: entity for entity in ENTITIES}
BY_PRESIDIO: dict[str, Entity] = {entity.presidio: entity for entity in ENTITIES}
PATTERNED: tuple[str, ...] = tuple(entity.name for entity in ENTITIES if not entity.names)
"""Kinds that the kernels find; the default."""
NAMED: tuple[str, ...] = tuple(entity.name for entity in ENTITIES if entity.names)


def tag(name: str) -> str:
    """What stands for a value of this kind: `<EMAIL>`. Holds no digit, so that no rule looks at it."""
    return f"<{name.upper()}>"
