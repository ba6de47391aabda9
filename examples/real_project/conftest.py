"""The fixtures: a project in a temporary folder, away from the user's own home and git settings.

A test that runs under many schedules sets up its own fixtures in each of them; a module's are set up once.
"""

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project without git, for a pool whose work asks for none."""
    return Project(tmp_path_factory.mktemp("project"))
