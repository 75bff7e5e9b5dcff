"""Wheels of a lock file for this machine and for others, fetched by pip and kept in a folder."""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging import tags
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from ragkit.errors import RagkitError

# Pins that one call of pip fetches: what an interruption can lose.
_BATCH = 12
# glibc from 2.5 (manylinux1) to 2.39: pip wants every one of them named.
_GLIBC = range(39, 4, -1)
_LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
# sys_platform, os_name, platform_system and platform_machine of markers.
_KNOWN = {
    "linux": ("linux", "posix", "Linux", "x86_64"),
    "linux-arm": ("linux", "posix", "Linux", "aarch64"),
    "macos": ("darwin", "posix", "Darwin", "arm64"),
    "macos-intel": ("darwin", "posix", "Darwin", "x86_64"),
    "windows": ("win32", "nt", "Windows", "AMD64"),
}
THIS = "this"


@dataclass(frozen=True)
class Target:
    """A kind of machine: its name, CPython version, wheel platforms (best first), and markers' values."""

    name: str
    python: tuple[int, int]
    platforms: tuple[str, ...]
    markers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, name: str) -> "Target":
        """Return the target of a name: "this", or linux, linux-arm, macos, macos-intel, windows with a version.

        Without a version it is this Python's. Raises RagkitError for another name.

        >>> windows = Target.parse("windows-3.12")
        >>> windows.python, windows.platforms
        ((3, 12), ('win_amd64',))
        """
        here = sys.version_info[:2]
        if name == THIS:
            return cls(f"{THIS} ({platform.system()} {platform.machine()})", here, tuple(tags.platform_tags()))
        system, _, last = name.rpartition("-")
        known, version = (system, last) if last[:1].isdigit() else (name, f"{here[0]}.{here[1]}")
        parts = version.split(".")
        if known not in _KNOWN or len(parts) != 2 or not all(part.isdecimal() for part in parts):
            raise RagkitError(
                f"{name!r} is no platform; expected {THIS} or one of {', '.join(_KNOWN)}, with or without a version "
                "of Python, such as windows-3.12."
            )
        names = ("sys_platform", "os_name", "platform_system", "platform_machine")
        markers = tuple(zip(names, _KNOWN[known], strict=True))
        return cls(f"{known}-{version}", (int(parts[0]), int(parts[1])), _platforms(known), markers)

    @property
    def tags(self) -> set[tags.Tag]:
        """The tags of wheels that such a machine can install."""
        interpreter = "cp{}{}".format(*self.python)
        specific = tags.cpython_tags(self.python, platforms=self.platforms)
        return {*specific, *tags.compatible_tags(self.python, interpreter, self.platforms)}


def _platforms(known: str) -> tuple[str, ...]:
    machine = _KNOWN[known][3]
    if known.startswith("windows"):
        return ("win_amd64",)
    if known.startswith("macos"):
        return tuple(tags.mac_platforms((14, 0), machine))
    names = [name for minor in _GLIBC for name in (f"manylinux_2_{minor}", _LEGACY.get(minor)) if name]
    return (*(f"{name}_{machine}" for name in names), f"linux_{machine}")


def pins(lock: Path, target: Target) -> list[str]:
    """Return what the lock pins on such a machine, as "name==version", in the lock's order.

    A pin that depends on the third part of Python's version is included if any such version wants it. Raises
    RagkitError for a line that pins nothing.
    """
    found = []
    for number, line in enumerate(lock.read_text("utf8").splitlines(), 1):
        line = line.split(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        try:
            requirement = Requirement(line)
            ((operator, version),) = [(part.operator, part.version) for part in requirement.specifier]
            assert operator == "=="
        except (ValueError, AssertionError) as error:
            raise RagkitError(f"{lock}, line {number}: expected name==version, got {line!r}.") from error
        if requirement.marker is None or any(requirement.marker.evaluate(values) for values in _values(target)):
            found.append(f"{requirement.name}=={version}")
    return found


def _values(target: Target) -> Iterator[dict[str, str]]:
    """Yield the markers' values under the first and the last release of the target's Python."""
    version = "{}.{}".format(*target.python)
    for full in (f"{version}.0", f"{version}.99"):
        yield {**dict(target.markers), "python_version": version, "python_full_version": full}


def absent(wanted: Sequence[str], target: Target, wheels: Sequence[str]) -> list[str]:
    """Return the pins for which no wheel, by its file name, can be installed on such a machine.

    >>> absent(["a==1", "b==2"], Target.parse("windows-3.12"), ["a-1-py3-none-any.whl"])
    ['b==2']
    """
    there, usable = set(), target.tags
    for name in wheels:
        project, version, _, built_for = parse_wheel_filename(name)
        if built_for & usable:
            there.add(f"{project}=={version}")
    return [pin for pin in wanted if _canonical(pin) not in there]


def _canonical(pin: str) -> str:
    name, _, version = pin.partition("==")
    return f"{canonicalize_name(name)}=={version}"


def fetch(wanted: Sequence[str], target: Target, folder: Path) -> Iterator[tuple[list[Path], list[str]]]:
    """Fetch wheels of the pins into the folder, a few at a time; yield the new files, and what was not to be had.

    A project without a wheel for the target is built here, which helps where the result fits the target. Each
    file is there whole or not at all. Raises RagkitError if pip gets none of several pins, as without a network.
    """
    if importlib.util.find_spec("pip") is None:
        raise RagkitError("Wheels are fetched by pip, which this Python has not; run: python -m ensurepip")
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(wanted), _BATCH):
        batch = list(wanted[start : start + _BATCH])
        files, _ = _download(batch, target, folder)
        if files:
            yield files, []
            continue
        lacking = []
        for pin in batch:  # one of them has no wheel, and pip keeps none of a batch that fails
            files, why = _download([pin], target, folder)
            if not files:
                files, _ = _build(pin, target, folder)
            if not files:
                lacking.append(f"{pin} for {target.name}: {why}")
            yield files, lacking[-1:] if not files else []
        if len(lacking) == len(batch) > 1:
            raise RagkitError(f"pip could fetch no wheel at all; {lacking[0]}. Is there a network? Then run it again.")


def _download(wanted: Sequence[str], target: Target, folder: Path) -> tuple[list[Path], str]:
    options = ["--only-binary=:all:", "--implementation=cp", "--python-version={}.{}".format(*target.python)]
    platforms = [f"--platform={name}" for name in target.platforms]
    return _pip(["download", *options, *platforms, *wanted, "--dest"], folder)


def _build(pin: str, target: Target, folder: Path) -> tuple[list[Path], str]:
    return _pip(["wheel", pin, "--wheel-dir"], folder, keep=target.tags)


def _pip(arguments: list[str], folder: Path, keep: set[tags.Tag] | None = None) -> tuple[list[Path], str]:
    """Run pip into a folder beside the wheels and move what it made; return that, and pip's last line."""
    partial = folder / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    command = [sys.executable, "-m", "pip", *arguments, str(partial), "--no-deps", "--quiet"]
    done = subprocess.run([*command, "--disable-pip-version-check"], capture_output=True, text=True)
    made = []
    for file in sorted(partial.glob("*.whl")) if done.returncode == 0 else []:
        if keep is None or parse_wheel_filename(file.name)[3] & keep:
            os.replace(file, folder / file.name)
            made.append(folder / file.name)
    shutil.rmtree(partial, ignore_errors=True)
    return made, (done.stderr.strip().splitlines() or ["no wheel"])[-1]
