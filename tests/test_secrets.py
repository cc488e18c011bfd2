"""No password in what is printed, in Snakemake's records or on a command line."""

from types import SimpleNamespace

import pytest

from petvr.commands import mlflow
from petvr.errors import PetvrError, without_secrets


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ann:s3cret@db:5432/petvr", "postgresql://db:5432/petvr"),
        ("https://ann:p@ss:w@rd@mlflow.example/x", "https://mlflow.example/x"),
        ("mysql://db/x?user=ann&password=s3cret&ssl=1", "mysql://db/x?user=ann&password=...&ssl=1"),
        ("http://h/?api_key=s3cret", "http://h/?api_key=..."),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("http://localhost:5000", "http://localhost:5000"),
    ],
)
def test_an_address_is_shown_without_its_login(address, shown):
    assert without_secrets(address) == shown
    assert (
        str(PetvrError(f"config.yaml: tracking.uri: {address} is away"))
        == f"config.yaml: tracking.uri: {shown} is away"
    )


def test_mlflow_is_started_with_its_address_in_the_environment(monkeypatch, capsys):
    called = {}
    monkeypatch.setattr(mlflow.subprocess, "call", lambda command, env: called.update(command=command, env=env) or 0)
    monkeypatch.setattr(mlflow, "sync", lambda *_: SimpleNamespace(ok=True, logged=0, unchanged=0, experiment_id="1"))
    monkeypatch.setattr(mlflow.planning, "plan", lambda _: None)
    for uri in ("postgresql://ann:s3cret@db/petvr", "http://ann:s3cret@mlflow.example"):
        config = SimpleNamespace(tracking_uri=uri)
        assert mlflow.run(SimpleNamespace(host="127.0.0.1", port=5000), config) == 0
    assert "s3cret" not in " ".join(called["command"]) + capsys.readouterr().out
    assert called["env"]["MLFLOW_BACKEND_STORE_URI"] == "postgresql://ann:s3cret@db/petvr"
