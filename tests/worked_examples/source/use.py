"""A corpus of the new kind: its configuration is accepted and described, its documents are read."""

import json
import mailbox
import tempfile
from email.message import EmailMessage
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import yaml

from bld.config.checks import ConfigError, read_settings
from bld.config.reference import MARK, readme_text, schema_text
from bld.config.registry import SOURCES
from bld.documents.intake import Intake
from bld.pipeline.code_digest import code_digest, loaded_modules
from bld.pipeline.targets import Targets

folder = Path(tempfile.mkdtemp())
box = mailbox.mbox(folder / "mail")
for subject in ("Bytes", "Tokens"):
    message = EmailMessage()
    message["Subject"] = subject
    message.set_content(f"On {subject.lower()}.")
    box.add(message)
box.close()

# The configuration.
raw = yaml.safe_load(Path("config/config.yaml").read_text())
raw["benchmarks"] = {}
corpus = raw["corpora"]["python_docs"]
corpus["source"] = {"kind": "mailbox", "path": str(folder / "none")}
try:
    raise SystemExit(f"accepted: {read_settings(raw)}")
except ConfigError as error:
    assert "corpora.python_docs.source.path" in str(error)
corpus["source"]["path"] = str(folder / "mail")
settings = read_settings(raw)
source = settings.corpora["python_docs"].source
assert "MailboxSource" in json.loads(schema_text())["$defs"]
assert "`corpora.NAME.source` with `kind: mailbox`" in readme_text(MARK)

# What its splits are rerun for: the mailbox, and the code of this kind alone.
wildcards = SimpleNamespace(corpus="python_docs", split="train")
assert Targets(settings).corpus_source(wildcards) == [str(folder / "mail")]
modules = {kind: loaded_modules({"corpus": {"source": {"kind": kind}}}) for kind in SOURCES}
assert modules["mailbox"] == ("bld.documents.sources.mailbox",)
stage = "bld.stages.build_split"
print(json.dumps({kind: code_digest(stage, loaded=own) for kind, own in modules.items()}))

# Reading.
reader = import_module(*modules["mailbox"])
assert reader.inputs(source, folder) == [folder / "mail"]
contents = [document.content for document in reader.read(source, folder, Intake())]
assert contents == [b"Bytes\n\nOn bytes.\n", b"Tokens\n\nOn tokens.\n"]
