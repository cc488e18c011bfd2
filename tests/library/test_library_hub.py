"""Pushing to a hub and loading from it, against a server of its kind on loopback."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub.constants
import pytest
from made_runs import spec_of

import petvr

COMMIT = "c" * 40


class HubOnLoopback(BaseHTTPRequestHandler):
    """What huggingface_hub asks when it uploads a folder as one commit and downloads a snapshot."""

    files: dict[str, bytes] = {}  # noqa: RUF012
    asked: list[tuple[str, str]] = []  # noqa: RUF012

    def log_message(self, *_):
        pass

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.asked.append((self.path, self.headers.get("Authorization", "")))
        if self.headers.get("Authorization") != "Bearer hf_mine":
            self.answer({"error": "Invalid username or password."}, 401)
        elif self.path == "/api/repos/create":
            self.answer(
                {"url": f"http://{self.headers['Host']}/{json.loads(body)['organization']}/lora", "id": "me/lora"}
            )
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            asked = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self.answer({"files": asked, "commitOid": None})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer(
                {
                    "commitUrl": f"http://{self.headers['Host']}/me/lora/commit/{COMMIT}",
                    "commitOid": COMMIT,
                    "pullRequestUrl": None,
                }
            )
        else:
            self.answer({"error": self.path}, 404)

    def do_GET(self):
        name = self.path.partition(f"/resolve/{COMMIT}/")[2]
        if self.path.startswith("/api/models/me/lora/"):
            tree = [{"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for path, data in self.files.items()]  # fmt: skip
            siblings = [{"rfilename": one["path"]} for one in tree]
            self.answer(tree if "/tree/" in self.path else {"id": "me/lora", "sha": COMMIT, "siblings": siblings})
        elif name in self.files:
            self.answer(self.files[name], 200)
        else:
            self.answer({"error": self.path}, 404)

    do_HEAD = do_GET

    def answer(self, value, status=200):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    HubOnLoopback.files, HubOnLoopback.asked = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubOnLoopback)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(
        huggingface_hub.constants.ENDPOINT, address
    )
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield address
    server.shutdown()
    server.server_close()


def test_a_pushed_folder_is_loaded_by_its_hub_id(hub, finished_run, results, tmp_path, monkeypatch):
    monkeypatch.chdir(results.parent)
    folder = petvr.export(finished_run(spec_of("lora")), tmp_path / "shared")
    assert petvr.push(folder, "me/lora", token="hf_mine") == f"{hub}/me/lora"
    assert HubOnLoopback.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    HubOnLoopback.files["evil.py"] = b"raise SystemExit('executed')"
    model = petvr.load("me/lora", device="cpu")
    assert model.digest == petvr.load(folder, device="cpu").digest and model.source == "me/lora"
    assert not list((tmp_path / "cache").rglob("evil.py")), "nothing but what is needed is brought"


def test_what_the_hub_refuses_is_one_line_without_the_token(hub, finished_run, tmp_path):
    folder = petvr.export(finished_run(spec_of("lora")), tmp_path / "shared")
    for call, said in (
        (lambda: petvr.push(folder, "me/lora", token="hf_other"), "me/lora: the hub does not take it: .*401"),
        (lambda: petvr.push(folder, "lora", token="hf_mine"), "lora: no hub id; one is owner/name"),
        (lambda: petvr.push(tmp_path, "me/lora", token="hf_mine"), r"petvr\.json: no such file"),
        (lambda: petvr.load("me/other"), "me/other: no folder here, and the hub does not give it"),
        (lambda: petvr.load("me/lora"), r"me/lora: holds no petvr\.json"),
    ):
        with pytest.raises(petvr.PetvrError, match=said) as raised:
            call()
        assert "\n" not in str(raised.value) and "hf_" not in str(raised.value)
    (folder / "secrets.txt").write_text("mine")
    with pytest.raises(petvr.PetvrError, match=r"secrets\.txt: was not written by export"):
        petvr.push(folder, "me/lora", token="hf_mine")
    assert HubOnLoopback.files == {}
