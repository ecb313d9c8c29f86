from pathlib import Path

import pytest

from steadfast.report import write_report
from tests.report.synthetic import make_run


@pytest.fixture(scope="session")
def planted_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run whose treatment improved everything by ten points; to be read only."""
    run = make_run(tmp_path_factory.mktemp("planted"), effect={"health-only": 0.1}, trait_effect={"health-only": 0.2})
    return write_report(run)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run that changed nothing."""
    return make_run(tmp_path / "run")
