"""What a manifest takes from frame stores, and from those that are damaged."""

import sys
from pathlib import Path

import pytest

from petvr.data.manifest.decoded import read_stores

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
import training_bench


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"format": 99}', b"\xff\xfe"])
def test_a_damaged_store_is_said_and_the_others_are_read(tmp_path, capsys, damage):
    training_bench.write_store(tmp_path / "sound", ["train0"])
    training_bench.write_store(tmp_path / "damaged", ["train1"])
    (tmp_path / "damaged" / "index.json").write_bytes(damage)
    findings = read_stores(tmp_path)
    assert list(findings.stores) == ["sound"] and list(findings.records) == ["train0"]
    said = capsys.readouterr().err
    assert f"{tmp_path / 'damaged' / 'index.json'}: " in said and "petvr frames builds it anew" in said
