"""The fixtures: a project in a temporary folder, away from the user's own home and git settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenarios import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project; it is the current folder too, since little-loops runs some of its git there."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    created = Project.create(tmp_path / "project")
    monkeypatch.chdir(created.root)
    return created
