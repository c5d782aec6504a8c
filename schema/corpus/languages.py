"""The text search configurations of PostgreSQL by the names that languages go by: ISO 639 codes and their own names.

The words of a language that is not here are compared as they are written ("simple").
"""

from __future__ import annotations

from typing import Final

SIMPLE: Final = "simple"

CODES: Final = {
    "arabic": "ar ara",
    "armenian": "hy hye arm",
    "basque": "eu eus baq",
    "catalan": "ca cat",
    "danish": "da dan dansk",
    "dutch": "nl nld dut nederlands",
    "english": "en eng",
    "estonian": "et est",
    "finnish": "fi fin suomi",
    "french": "fr fra fre français",
    "german": "de deu ger deutsch",
    "greek": "el ell gre",
    "hindi": "hi hin",
    "hungarian": "hu hun magyar",
    "indonesian": "id ind",
    "irish": "ga gle",
    "italian": "it ita italiano",
    "lithuanian": "lt lit",
    "nepali": "ne nep",
    "norwegian": "no nor nb nob nn nno norsk",
    "portuguese": "pt por português",
    "romanian": "ro ron rum",
    "russian": "ru rus русский",
    "serbian": "sr srp",
    "spanish": "es spa español",
    "swedish": "sv swe svenska",
    "tamil": "ta tam",
    "turkish": "tr tur türkçe",
    "yiddish": "yi yid",
}
PREFIX_STEM_CODES: Final = {
    "albanian": "sq sqi alb shqip",
    "azerbaijani": "az aze azj azb",
    "belarusian": "be bel",
    "bosnian": "bs bos bosanski",
    "bulgarian": "bg bul",
    "croatian": "hr hrv hrvatski",
    "czech": "cs ces cze čeština",
    "galician": "gl glg galego",
    "georgian": "ka kat geo",
    "icelandic": "is isl ice íslenska",
    "kazakh": "kk kaz",
    "latvian": "lv lav lvs latviešu",
    "macedonian": "mk mkd mac",
    "polish": "pl pol polski",
    "slovak": "sk slk slo slovenčina",
    "slovenian": "sl slv slovenščina",
    "turkmen": "tk tuk",
    "ukrainian": "uk ukr українська",
    "uzbek": "uz uzb uzn",
}
"""Those that PostgreSQL has no stemmer for: their configurations are ours (migrations/0012_endings.sql)."""

CONFIGURATIONS: Final = {
    name: configuration
    for configuration, names in (CODES | PREFIX_STEM_CODES).items()
    for name in (configuration, *names.split())
}


def configuration(name: str) -> str | None:
    """The configuration of a language named in any of these ways, also with its region ("de-CH", "pt_BR"); None for
    one that has none."""
    plain = name.strip().lower()
    return CONFIGURATIONS.get(plain) or CONFIGURATIONS.get(plain.replace("_", "-").split("-")[0])
