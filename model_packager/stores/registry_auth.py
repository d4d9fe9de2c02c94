"""Credentials for OCI registries, as other container tools keep them, and the answer to a registry's challenge."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_packager.errors import FetchFailed

HELPER_SECONDS = 30
DOCKER_CONFIG_JSON = "OCI_DOCKER_CONFIG_JSON"
"""Variable with the text of a configuration of container tools, such as a pull secret of a cluster holds."""
_PARAMETER = re.compile(r'([a-z_]+)="([^"]*)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user with a password, or an identity token that a token service exchanges. Never shown."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r})"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a registry asks for in ``WWW-Authenticate``: ``basic``, or ``bearer`` with a realm to get a token from."""

    scheme: str
    realm: str
    query: dict[str, str]


def parse_challenge(header: str) -> Challenge:
    """Read the header; an unknown scheme is returned as it is."""
    scheme, _, rest = header.strip().partition(" ")
    fields = {key.lower(): value for key, value in _PARAMETER.findall(rest)}
    query = {key: fields[key] for key in ("service", "scope") if fields.get(key)}
    return Challenge(scheme.lower(), fields.get("realm", ""), query)


def find_credentials(host: str) -> Credentials | None:
    """From OCI_USERNAME and OCI_PASSWORD, else from the container tools' configuration; None for anonymous access.

    The configuration is the text in OCI_DOCKER_CONFIG_JSON, whose credential helpers are not run, or else
    ``$DOCKER_CONFIG/config.json`` or ``~/.docker/config.json`` with credential helpers. Raises FetchFailed if it is
    there and cannot be used: silently going on without credentials would hide the cause.
    """
    username = os.environ.get("OCI_USERNAME")
    if username:
        return Credentials(username, os.environ.get("OCI_PASSWORD", ""))
    text = os.environ.get(DOCKER_CONFIG_JSON)
    if text is not None:
        try:
            entry = json.loads(text).get("auths", {}).get(host)
            return _from_entry(entry) if entry else None
        except (ValueError, AttributeError) as error:
            raise FetchFailed(f"The credentials for {host} in {DOCKER_CONFIG_JSON} cannot be read.") from error
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        fields = json.loads(path.read_bytes())
        helper = fields.get("credHelpers", {}).get(host) or fields.get("credsStore")
        entry = fields.get("auths", {}).get(host)
        if helper and not (entry and (entry.get("auth") or entry.get("identitytoken"))):
            return _from_helper(str(helper), host)
        return _from_entry(entry) if entry else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise FetchFailed(f"The credentials for {host} in {path} cannot be read; repair or remove the file.") from error


def _from_entry(entry: dict[str, Any]) -> Credentials | None:
    token = str(entry.get("identitytoken") or "")
    try:
        pair = base64.b64decode(entry.get("auth") or "", validate=True).decode()
    except binascii.Error as error:
        raise ValueError("auth is not base64") from error
    username, _, password = pair.partition(":")
    if not username:
        username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    return Credentials(username, password, token) if username or token else None


def _from_helper(helper: str, host: str) -> Credentials | None:
    command = f"docker-credential-{helper}"
    try:
        done = subprocess.run([command, "get"], input=host.encode(), capture_output=True, timeout=HELPER_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchFailed(f"The credential helper {command} for {host} could not be run ({error}).") from error
    if done.returncode:
        return None  # helpers fail for a host that they do not know; the registry may allow anonymous access
    fields = json.loads(done.stdout)
    username, secret = str(fields["Username"]), str(fields["Secret"])
    return Credentials(identity_token=secret) if username == "<token>" else Credentials(username, secret)
