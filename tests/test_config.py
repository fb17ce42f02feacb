"""Environment variables: one table, true in the code and in the documentation."""
import pathlib
import re

import pytest

import jitnet
from jitnet import config, errors

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_every_variable_of_the_code_is_in_the_table():
    text = "".join(p.read_text() for p in (ROOT / "jitnet").glob("**/*.py"))
    assert set(re.findall(r"\bJITNET_[A-Z_]+\b", text)) == set(config.VARIABLES)


def test_the_page_is_the_table():
    page = (ROOT / "docs" / "environment.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", page, re.MULTILINE)
    expected = [(name, f"`{default}`" if default else "not set", text) for name, (default, text) in config.VARIABLES.items()]
    assert rows == expected


def test_values(monkeypatch):
    monkeypatch.delenv("JITNET_DEBUG", raising=False)
    assert config.debug_level() == 0
    monkeypatch.setenv("JITNET_DEBUG", "3")
    assert config.debug_level() == 3
    monkeypatch.setenv("JITNET_DEBUG", "yes")
    assert config.debug_level() == 1
    monkeypatch.setenv("JITNET_CHECK", "off")
    assert not config.switched_on("JITNET_CHECK")
    monkeypatch.setenv("JITNET_CHECK", "1")
    assert config.switched_on("JITNET_CHECK")
    assert config.number("JITNET_CACHE_SIZE", 7) == 7
    monkeypatch.setenv("JITNET_CACHE_SIZE", "64")
    assert config.number("JITNET_CACHE_SIZE", 7) == 64
    monkeypatch.setenv("JITNET_CACHE_SIZE", "1k")
    with pytest.raises(errors.TraceValueError) as error:
        config.number("JITNET_CACHE_SIZE", 7)
    assert (error.value.what, error.value.hint) == ("JITNET_CACHE_SIZE is '1k', which is no whole number",
                                                    "leave it out, or set it to one: JITNET_CACHE_SIZE=7")
    assert "JITNET_DEBUG" in jitnet.config.describe() and "(not set)" in jitnet.config.describe()
