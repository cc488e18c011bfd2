"""A method made of others: their settings are its own, and it is another version when one of them is."""

import pytest

from petvr import methods


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text('VERSION = 3\nDEFAULTS = {"r": 1, "last": 0}\nCHOICES = {"kind": ["x"]}\n')
    (tmp_path / "b.py").write_text('VERSION = 1\nDEFAULTS = {"k": 2, "last": 0}\n')
    (tmp_path / "both.py").write_text('VERSION = 2\nPARTS = ("a", "b")\nDEFAULTS = {"k": 5}\n')
    monkeypatch.setattr(methods, "HERE", tmp_path)
    methods.constants.cache_clear()
    yield
    methods.constants.cache_clear()


def test_settings_and_versions_come_from_the_parts(folder):
    assert methods.defaults("both") == {"r": 1, "last": 0, "k": 5}
    assert methods.constants("both")["CHOICES"] == {"kind": ["x"]}
    assert methods.version("both") == 4 and methods.version("b") == 1


def test_raps_settings_are_those_of_its_halves_in_their_order():
    assert list(methods.defaults("rap")) == list(methods.defaults("lorm") | methods.defaults("asa"))
    assert methods.version("rap") >= max(methods.version("lorm"), methods.version("asa"))
