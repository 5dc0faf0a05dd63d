"""Ask RO-Crate's public validator about a crate, without network: python tests/crates/validate.py
CRATE

Prints JSON: every issue at the severities REQUIRED and RECOMMENDED, with its check, message and
entity. It runs in the environment of envs/requirements/crates.txt. The validator reads two JSON-LD
contexts from the web; here they come through its HTTP cache: RO-Crate's own, the file beside this
one, which is in the public domain (CC0), and of the terms for runs those that our crates use.
"""

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from requests import PreparedRequest, Request, Response
from requests_cache import CachedSession
from urllib3 import HTTPResponse

RUN_TERMS = "https://w3id.org/ro/terms/workflow-run"
CONTEXTS = {
    "https://w3id.org/ro/crate/1.1/context": Path(__file__)
    .with_name("ro-crate-1.1-context.jsonld")
    .read_bytes(),
    f"{RUN_TERMS}/context": json.dumps({"@context": {"sha256": f"{RUN_TERMS}#sha256"}}).encode(),
}
PROFILE = "provenance-run-crate-0.5"
ACCEPTED = "application/ld+json, application/json;q=0.9, */*;q=0.1"


def answer(request: PreparedRequest, body: bytes) -> Response:
    """What the web would have answered."""
    response = Response()
    response.status_code, response.reason = 200, "OK"
    response.url, response.request = str(request.url), request
    response.headers["Content-Type"] = "application/ld+json"
    response._content = body
    response.raw = HTTPResponse(
        io.BytesIO(body), headers=response.headers, status=200, preload_content=False
    )
    return response


def seed(cache: Path) -> None:
    """Put the contexts where the validator looks first."""
    session = CachedSession(str(cache), backend="sqlite", expire_after=-1)
    for url, context in CONTEXTS.items():
        request = Request("GET", url, headers={"Accept": ACCEPTED}).prepare()
        session.cache.save_response(answer(request, context))
    session.close()


def issues(crate: Path) -> list[dict[str, str]]:
    """What the validator finds."""
    with tempfile.TemporaryDirectory() as folder:
        cache, report, unpacked = (Path(folder, name) for name in ("cache", "report", "crate"))
        seed(cache)
        # Of a zip the validator cannot write its report as JSON.
        with zipfile.ZipFile(crate) as archive:
            archive.extractall(unpacked)
        program = Path(sys.executable).with_name("rocrate-validator")
        command = [program, "validate", "--offline", "--cache-path", cache, "--no-paging"]
        command += ["--profile-identifier", PROFILE, "--requirement-severity", "recommended"]
        command += ["--output-format", "json", "--output-file", report, unpacked]
        done = subprocess.run([str(x) for x in command], capture_output=True, text=True)
        if not report.exists() or not report.stat().st_size:
            raise SystemExit(done.stdout + done.stderr)
        found = json.loads(report.read_text())
    if not found["statistics"]["total_checks"]:
        raise SystemExit("the validator checked nothing")
    return [
        {
            "severity": issue["severity"],
            "check": issue["check"]["identifier"],
            "message": issue["message"],
            "entity": issue["violatingEntity"],
        }
        for issue in found["issues"]
    ]


if __name__ == "__main__":
    print(json.dumps(issues(Path(sys.argv[1])), indent=1))
