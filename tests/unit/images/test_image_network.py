"""Promises about what of this host reaches a build: where packages come from, and nothing that is only local."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster.imagebuild_network import pip_settings, read_only_mounts


def test_index_settings_of_the_host_reach_the_build_and_local_folders_do_not(tmp_path: Path) -> None:
    system, user = tmp_path / "system.conf", tmp_path / "user.conf"
    system.write_text("[global]\nindex-url = https://one.example/simple\ntimeout = 9\nfind-links = /somewhere\n")
    user.write_text("[global]\nindex-url = https://two.example/simple\n")
    environment = {"PIP_FIND_LINKS": "/elsewhere", "PIP_NO_INDEX": "1", "PIP_TRUSTED_HOST": "two.example"}
    assert pip_settings(environment, [system, user, tmp_path / "absent.conf"]) == {
        "index-url": "https://two.example/simple",
        "timeout": "9",
        "trusted-host": "two.example",
    }


def test_variables_win_over_files(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = https://one.example/simple\n")
    settings = pip_settings({"PIP_INDEX_URL": "https://three.example/simple"}, [file])
    assert settings == {"index-url": "https://three.example/simple"}


def test_the_certificates_of_the_host_are_used_inside_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = tmp_path / "bundle.crt"
    certificates.write_text("certificates")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    monkeypatch.setenv("PIP_FIND_LINKS", "/elsewhere")
    mounts = {place: file for file, place in read_only_mounts(tmp_path)}
    assert mounts["/etc/ssl/certs/ca-certificates.crt"] == certificates
    configuration = mounts["/etc/pip.conf"].read_text()
    assert "cert = /etc/ssl/certs/ca-certificates.crt\n" in configuration
    assert "elsewhere" not in configuration
