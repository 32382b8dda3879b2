"""What this image is made of, as a CycloneDX 1.6 document: Debian's packages and the distributions of this Python.

Runs inside the image while it is built and needs nothing but Python. Same contents, same document: no times in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import quote

_FORMAT = "${Package}\t${Version}\t${Architecture}\n"


def system() -> list[dict[str, object]]:
    """The packages that dpkg knows."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    release = dict(line.split("=", 1) for line in lines if "=" in line)
    distro = f"{release['ID']}-{release.get('VERSION_ID', '')}".replace('"', "").rstrip("-")
    found = subprocess.run(["dpkg-query", "-W", "-f", _FORMAT], check=True, capture_output=True, text=True).stdout
    return [
        component(name, version, f"pkg:deb/debian/{name}@{quote(version)}?arch={architecture}&distro={distro}")
        for name, version, architecture in (line.split("\t") for line in found.splitlines())
    ]


def python() -> list[dict[str, object]]:
    """The distributions that this interpreter would import, with the licences that they state in the short form."""
    found = []
    for each in distributions():
        name, version = each.metadata["Name"].lower().replace("_", "-").replace(".", "-"), each.version
        made = component(name, version, f"pkg:pypi/{name}@{quote(version)}")
        if licence := each.metadata.get("License-Expression"):
            made["licenses"] = [{"expression": licence}]
        found.append(made)
    return found


def component(name: str, version: str, purl: str) -> dict[str, object]:
    """One part."""
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def main() -> None:
    """Write the document to standard output."""
    parts = {str(part["bom-ref"]): part for part in [*system(), *python()]}
    components = [parts[ref] for ref in sorted(parts)]
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components))
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        "components": components,
    }
    json.dump(document, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
