"""Settings are described once: what ships and what the manual says of them is made from that."""

from __future__ import annotations

from tests import describe_settings

WRITE = "write it with `python -m tests.describe_settings`"


def test_every_setting_has_a_description() -> None:
    lacking = [
        f"{name}.{key}"
        for name, section in describe_settings.sections()
        for key, field in section.model_fields.items()
        if not field.description
    ]
    assert lacking == []


def test_the_shipped_defaults_say_what_each_setting_means() -> None:
    assert describe_settings.DEFAULTS.read_text() == describe_settings.defaults_text(), WRITE


def test_the_manual_has_the_settings() -> None:
    assert describe_settings.MANUAL.read_text() == describe_settings.manual_text(), WRITE
