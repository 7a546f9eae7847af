"""What `pip install --dry-run --report` tells, for a pip older than 23.3, which would download every wheel to tell it.

Run as a script by the interpreter whose pip is asked: `python old_pip.py PATH_OF_PIP_OR_EMPTY NAME==VERSION…`. It looks
the addresses up with that pip's own settings and prints the same JSON. It uses pip's inner parts, which is safe here
and only here: the old versions do not change any more.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(pip: str, requirements: list[str]) -> None:
    if pip:
        sys.path.insert(0, pip)
    print(json.dumps({"install": _look_up(requirements)}))


def _look_up(requirements: list[str]) -> list[dict[str, Any]]:
    from pip._internal.commands import create_command
    from pip._vendor.packaging.specifiers import SpecifierSet

    command: Any = create_command("download")
    options, _ = command.parse_args(["--only-binary", ":all:", "--no-input", *requirements])
    found: list[dict[str, Any]] = []
    with command.main_context():
        finder = command._build_package_finder(options, command.get_default_session(options))
        for requirement in requirements:
            name, _, version = requirement.partition("==")
            best = finder.find_best_candidate(name, SpecifierSet(f"=={version}")).best_candidate
            if best is not None:
                found.append(_item(name, version, best.link))
    return found


def _item(name: str, version: str, link: Any) -> dict[str, Any]:
    hashes = {link.hash_name: link.hash} if link.hash_name else {}
    return {
        "metadata": {"name": name, "version": version},
        "download_info": {"url": link.url_without_fragment, "archive_info": {"hashes": hashes}},
    }


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
