"""A mirror of the hub on this machine, with one repository, for the hub's own client."""

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler

from bld.tokenization.scratch import pure_bytes

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_thisIsASecret"
CARD = "---\nlicense: other\nlicense_name: llama3.2\nlicense_link: LICENSE.txt\n---\n# A model\n"
FILES = {
    "README.md": CARD.encode(),
    "LICENSE.txt": b"You may.",
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": bytes(range(256)) * 8,
    "tokenizer.json": pure_bytes().to_str().encode(),
    "original/weights.pth": b"not asked for",
}
LARGE = "model.safetensors"


class Mirror(BaseHTTPRequestHandler):
    """What the client asks of a hub: what a branch stands for, the files of a commit with their
    digests, and each file's head and body."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        mirror = self.server
        mirror.tokens.add(self.headers["Authorization"])
        path = re.sub("^/(api/models/|api/datasets/|datasets/)?", "", self.path.split("?")[0])
        owner, name, what, commit, *rest = path.split("/")
        if mirror.refusal:
            status, code = mirror.refusal
            return self.send(b"", status, {"X-Error-Code": code})
        if (owner, name) != ("someone", "small"):
            return self.send(b"", 404, {"X-Error-Code": "RepoNotFound"})
        if what == "revision" and commit in mirror.branches:
            told = {"id": f"{owner}/{name}", "sha": mirror.branches[commit]}
            return self.send(json.dumps(told).encode())
        if commit not in mirror.commits:
            return self.send(b"", 404, {"X-Error-Code": "RevisionNotFound"})
        if what == "tree":
            return self.send(json.dumps([self.listed(file) for file in FILES]).encode())
        file = "/".join(rest)
        whole = {"X-Repo-Commit": commit, "ETag": '"a"', "X-Linked-Size": str(len(FILES[file]))}
        self.send(mirror.served.get(file, FILES[file]), headers=whole)

    def listed(self, file):
        body = FILES[file]
        entry = {"type": "file", "path": file, "size": len(body)}
        if file == LARGE:
            digest = hashlib.sha256(body).hexdigest()
            return entry | {
                "oid": "0" * 40,
                "lfs": {"oid": digest, "size": len(body), "pointerSize": 1},
            }
        # Git's name for a file's content.
        return entry | {"oid": hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()}

    def send(self, body, status=200, headers=()):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass
