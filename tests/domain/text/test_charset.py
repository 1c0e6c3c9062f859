"""Which of several statements of a charset holds, and what labels mean."""

import pytest

from services.domain.text.charset import as_utf8
from services.domain.text.markup import decode

RUSSIAN, CHINESE = "Метод опорных векторов", "机器学习方法"


def document(text: str, declared: str = "") -> str:
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    return f"{declaration}<rss>{text}</rss>"


@pytest.mark.parametrize(
    ("text", "declared", "codec", "content_type"),
    [
        (RUSSIAN, "", "cp1251", "application/rss+xml; charset=windows-1251"),
        (RUSSIAN, "utf-8", "cp1251", 'text/xml;charset="CP1251"'),
        (RUSSIAN, "", "koi8-r", "text/xml; charset=koi8"),
        (RUSSIAN, "windows-1251", "utf-8", "text/xml; charset=utf-8"),
        (RUSSIAN, "utf-8", "utf-8", "text/xml; charset=ISO-8859-1"),
        (RUSSIAN, "windows-1251", "cp1251", "text/xml; charset=utf-8"),
        (RUSSIAN, "x-cp1251", "cp1251", "text/xml"),
        (RUSSIAN, "", "utf-8-sig", "text/xml; charset=windows-1251"),
        (RUSSIAN, "", "utf-16", "text/xml; charset=windows-1251"),
        (RUSSIAN, "utf-8", "utf-16-be", "text/xml; charset=utf-16be"),
        (CHINESE, "utf-8", "gbk", "text/xml; version=1; charset=gb2312"),
        (CHINESE, "gb_2312-80", "gbk", ""),
        ("日本語の論文", "utf-8", "cp932", "text/xml; charset=x-sjis"),
        ("日本語の論文", "", "iso2022_jp", "text/xml; charset=iso-2022-jp"),
        ("한국어 논문", "", "cp949", "text/xml; charset=ks_c_5601-1987"),
        ("“Quotes” and a dash –", "iso-8859-1", "cp1252", ""),
        ("“Quotes” and a dash –", "utf-8", "cp1252", "text/xml; charset=latin1"),
        (RUSSIAN, "utf-8", "utf-8", "text/xml; charset=rot13"),
    ],
)
def test_the_text_is_that_of_the_charset_that_holds(text: str, declared: str, codec: str, content_type: str) -> None:
    body = document(text, declared).encode(codec)
    assert decode(as_utf8(body, content_type)) == document(text, declared)


def test_labels_of_other_codecs_do_not_hide_markup() -> None:
    body = document("+ADwAIQ-ENTITY").encode("ascii")
    assert decode(as_utf8(body, "text/xml; charset=utf-7")) == body.decode()
