"""Licences of what a model was made from, and what a model card may say of them to the hub.

The hub knows a list of identifiers and takes no other in a card's `license`; whatever else holds is told as `other`, with a
name. Which licence a trained model has is for people to decide: here the terms of its parts are brought together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

NOT_STATED = "not stated"
HUB_LICENCES = (
    "afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0 "
    "bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 "
    "cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 "
    "cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 "
    "cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 "
    "fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 h-research intel-research isc lgpl lgpl-2.1 "
    "lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by "
    "ofl-1.1 openmdw-1.0 openrail openrail++ osl-3.0 pddl postgresql unlicense wtfpl zlib"
)
"""Identifiers that the hub takes in `license`, besides `other` and `unknown`."""


class Licence(NamedTuple):
    """What a part says of its licence: its `names` (none if it says nothing), a link, and the files of its folder that hold
    the text."""

    names: tuple[str, ...] = ()
    link: str | None = None
    files: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """For people."""
        text = " and ".join(self.names) or NOT_STATED
        text += f", {self.link}" if self.link else ""
        return text + (f" (text: {', '.join(self.files)})" if self.files else "")


def stated_licence(manifest: Mapping[str, Any]) -> Licence:
    """The licence in the manifest of a fetched or linked folder."""
    said = manifest.get("licence", {})
    names = said.get("license") or []
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    known = [name for name in names if name not in ("other", "unknown")]
    if own := said.get("license_name"):
        known = [str(own), *known]
    link = said.get("license_link")
    return Licence(tuple(known), str(link) if link else None, tuple(said.get("files", ())))


def card_licence(licences: Sequence[Licence]) -> dict[str, Any]:
    """The fields `license`, and if need be `license_name` and `license_link`, of a card for a model whose parts have
    these licences.

    One that all share and that the hub knows stands as it is; anything else is `other`, named by all of them in their
    order.
    """
    names = list(dict.fromkeys(name for one in licences for name in one.names or ("unknown",)))
    if len(names) == 1 and names[0].lower() in HUB_LICENCES.split():
        return {"license": names[0].lower()}
    fields = {"license": "other", "license_name": "-and-".join(map(_slug, names)) or "unknown"}
    link = licences[0].link if len(names) == 1 else None
    return fields | ({"license_link": link} if link and link.startswith("https://") else {})


def _slug(name: str) -> str:
    """Small letters, digits, dots and dashes: what the hub takes as a name."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "unknown"
