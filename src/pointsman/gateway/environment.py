"""The environment: the one place that reads variables, .env files and the home folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

from dotenv.parser import parse_stream
from msgspec import Struct

from ..core import ConfigError
from .specs import FromEnv


class Environment(Struct, frozen=True):
    """What the machine says. `home` holds every file that we write."""

    home: Path
    variables: Mapping[str, str]
    """The process's own, then ./.env, then ~/.env: the first that has a name wins."""
    config_file: Path | None = None
    """POINTSMAN_CONFIG, else `config.yaml` in the home where there is one."""
    problems: tuple[str, ...] = ()
    """What could not be read of the .env files: file, line and reason, never what stands there."""

    def first(self, names: Sequence[str]) -> tuple[str, str] | None:
        """The first of these variables that is set and not empty: (name, value). Raises ConfigError, naming only the
        variable, for a value that no HTTP header can carry."""
        for name in names:
            value = self.variables.get(name, "").strip()
            if value and not (value.isascii() and value.isprintable()):
                raise ConfigError(
                    f"The variable {name} holds a line break, or a character that is not ASCII: no key has one."
                )
            if value:
                return name, value
        return None

    def proxy_for(self, url: str) -> str:
        """The URL of the proxy that the variables name for `url` (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, in either case;
        NO_PROXY lists hosts and domains that need none); '' for none, and always for this machine."""
        address = urlsplit(url)
        host = address.hostname or ""
        excepted = self.first(("no_proxy", "NO_PROXY"))
        if host in THIS_MACHINE or (excepted and _is_excepted(host, excepted[1])):
            return ""
        scheme = address.scheme
        found = self.first((f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"))
        return found[1] if found else ""

    def secret(self, stated: str | FromEnv | None, *, where: str) -> str:
        """A key from the configuration: as it stands there, or from its variable. Raises ConfigError, naming only the
        variable, when that is not set."""
        if isinstance(stated, FromEnv):
            found = self.first([stated.env])
            if found is None:
                at = f"{where}: " if where else ""
                raise ConfigError(f"{at}The variable {stated.env} is not set, in the environment or in a .env file.")
            return found[1]
        return stated or ""


def read_environment(
    variables: Mapping[str, str] | None = None, *, directory: Path | None = None, user_home: Path | None = None
) -> Environment:
    """The environment as it is now. The parameters replace the process's own, for tests."""
    own = os.environ if variables is None else variables
    user_home = user_home or Path(own.get("HOME") or Path.home())
    files = dict.fromkeys((user_home / ".env", (directory or Path.cwd()) / ".env"))
    found = [_dotenv(file) for file in files]
    merged: dict[str, str] = {}
    for variables_of_file, _ in found:
        merged |= variables_of_file
    merged |= own
    # Where our files lie is the user's word, not that of the folder he happens to stand in.
    home = Path(own.get("POINTSMAN_HOME") or user_home / ".pointsman").expanduser()
    stated = own.get("POINTSMAN_CONFIG")
    default = home / "config.yaml"
    config_file = Path(stated).expanduser() if stated else default if default.is_file() else None
    problems = tuple(problem for _, of_file in found for problem in of_file)
    return Environment(home=home, variables=merged, config_file=config_file, problems=problems)


THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})


def _is_excepted(host: str, exceptions: str) -> bool:
    for exception in exceptions.split(","):
        domain = exception.strip().lstrip(".")
        if domain == "*" or (domain and (host == domain or host.endswith(f".{domain}"))):
            return True
    return False


def _dotenv(path: Path) -> tuple[dict[str, str], list[str]]:
    """What a file sets, and what is wrong with it."""
    try:
        if not path.is_file():
            return {}, []
        text = path.read_text("utf-8-sig")
    except OSError as error:
        return {}, [f"{path} cannot be read ({error.strerror or error}): what it sets is missing."]
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return {}, [f"{path}:{line}: This is not UTF-8 text, so nothing that the file sets was taken."]
    values: dict[str, str | None] = {}
    problems = []
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            # The empty lines before a statement count as its own.
            string = binding.original.string
            line = binding.original.line + string[: len(string) - len(string.lstrip())].count("\n")
            problems.append(f"{path}:{line}: This is no NAME=value (is a quote left open?), so it was left out.")
        elif binding.key:
            values[binding.key] = binding.value
    return {name: value for name, value in values.items() if value}, problems
