import hashlib
import threading

import pytest
from rogue import Rogue

from petvr.data.download.lock import DownloadLock
from petvr.data.download.retry import RetryPolicy
from petvr.data.download.web import Web


@pytest.fixture
def server():
    with Rogue() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy_no_netrc(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture
def pauses():
    """The pauses a downloader would have made."""
    return []


@pytest.fixture
def retry(pauses):
    return RetryPolicy(tries=4, sleep=pauses.append, connect=600, read=600)


@pytest.fixture
def web(retry):
    running = Web(retry)
    yield running
    running.close()


@pytest.fixture
def lock(tmp_path):
    return DownloadLock(tmp_path / "download.lock.json")


@pytest.fixture
def sha256():
    return lambda data: hashlib.sha256(data).hexdigest()
