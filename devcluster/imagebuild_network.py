"""What a build needs of this host to reach package indexes: its certificate authorities and pip's index settings."""

from __future__ import annotations

import configparser
import os
import ssl
from collections.abc import Mapping
from pathlib import Path

_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PIP_CONFIGURATION = "/etc/pip.conf"
# Where packages come from and how; local folders such as find-links would mean nothing inside a build.
_KEPT_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")


def pip_settings(environment: Mapping[str, str], files: list[Path]) -> dict[str, str]:
    """Return pip's index settings from its configuration files, the later ones winning, then its variables."""
    settings: dict[str, str] = {}
    for file in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # pip itself refuses such a file; a build without its settings says more clearly what is missing
        if parser.has_section("global"):
            settings |= {key: value for key, value in parser.items("global") if key in _KEPT_SETTINGS}
    for key in _KEPT_SETTINGS:
        value = environment.get(f"PIP_{key.upper().replace('-', '_')}")
        if value:
            settings[key] = value
    return settings


def read_only_mounts(folder: Path) -> list[tuple[Path, str]]:
    """Return pairs of a file of this host and its place inside the build; writes pip's settings into ``folder``.

    Nothing of it stays in an image: the final stage of each Dockerfile runs no command.
    """
    mounts = []
    settings = pip_settings(os.environ, _pip_files())
    certificates = host_certificates()
    if certificates is not None:
        mounts.append((certificates, _CERTIFICATES))
        settings["cert"] = _CERTIFICATES
    if settings:
        configuration = folder / "pip.conf"
        lines = [f"{key} = {value}".replace("\n", "\n    ") for key, value in sorted(settings.items())]
        configuration.write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
        mounts.append((configuration, _PIP_CONFIGURATION))
    return mounts


def host_certificates() -> Path | None:
    """Return this host's bundle of certificate authorities, or None where it has none as one file."""
    candidates = [os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, _CERTIFICATES]
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)


def _pip_files() -> list[Path]:
    home = Path.home()
    named = os.environ.get("PIP_CONFIG_FILE")
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    return [*files, *([Path(named)] if named else [])]
