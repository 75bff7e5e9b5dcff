"""Wheels of a lock file for this machine and for others, fetched by pip and kept in a folder."""

import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging import tags
from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from ragkit.errors import RagkitError
from ragkit.files import beside, saying

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

# "name==version" to the SHA-256 (hex) of each file that may be installed for it.
Pins = Mapping[str, frozenset[str]]


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


def pins(lock: Path, target: Target) -> dict[str, frozenset[str]]:
    """Return what the lock pins on such a machine: "name==version" to the SHA-256 (hex) of its files, in order.

    A pin that depends on the third part of Python's version is included if any such version wants it. Raises
    RagkitError if the lock cannot be read, and, naming the line, for one that pins nothing or has no SHA-256.
    """
    found: dict[str, frozenset[str]] = {}
    for number, line in _lines(lock):
        text, *hashes = re.split(r"\s+--hash=", line)
        try:
            requirement = Requirement(text)
            ((operator, version),) = [(part.operator, part.version) for part in requirement.specifier]
            assert operator == "=="
        except (ValueError, AssertionError) as error:
            raise RagkitError(f"{lock}, line {number}: expected name==version, got {text!r}.") from error
        if not hashes or not all(re.fullmatch("sha256:[0-9a-f]{64}", item) for item in hashes):
            raise RagkitError(f"{lock}, line {number}: {text} has no --hash=sha256:…; make the lock with: make lock")
        if requirement.marker is None or any(requirement.marker.evaluate(values) for values in _values(target)):
            pin = f"{requirement.name}=={version}"
            found[pin] = found.get(pin, frozenset()) | {item.removeprefix("sha256:") for item in hashes}
    return found


def _lines(lock: Path) -> Iterator[tuple[int, str]]:
    """Yield what the lock says with the number of its first line; a backslash continues a line, # begins a comment."""
    with saying(f"The lock {lock} cannot be read", "wheels need the requirements.txt of a checkout"):
        text = lock.read_text("utf8")
    number = 1
    for line in text.replace("\\\n", "\0").split("\n"):
        said = re.sub(r"(^|\s)#.*", "", line.replace("\0", " ")).strip()
        if said:
            yield number, said
        number += 1 + line.count("\0")


def _values(target: Target) -> Iterator[dict[str, str]]:
    """Yield the markers' values under the first and the last release of the target's Python."""
    version = "{}.{}".format(*target.python)
    for full in (f"{version}.0", f"{version}.99"):
        yield {**dict(target.markers), "python_version": version, "python_full_version": full}


def absent(wanted: Pins, target: Target, wheels: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return the pins for which no wheel can be installed on such a machine and is one that the lock knows.

    wheels: SHA-256 (hex) by file name.

    >>> lock = {"a==1": frozenset({"5e1f"}), "b==2": frozenset({"0b0e"})}
    >>> list(absent(lock, Target.parse("windows-3.12"), {"a-1-py3-none-any.whl": "5e1f"}))
    ['b==2']
    """
    there, usable = set(), target.tags
    for name, digest in wheels.items():
        pin, built_for = _read_name(name)
        if built_for & usable:
            there.add((pin, digest))
    return {pin: known for pin, known in wanted.items() if not any((_canonical(pin), one) in there for one in known)}


def strangers(wanted: Pins, wheels: Mapping[str, str]) -> list[str]:
    """Return the wheels of pinned versions whose SHA-256 is not the lock's: pip would meet them, and refuse.

    >>> strangers({"a==1": frozenset({"5e1f"})}, {"a-1-py3-none-any.whl": "bad0", "a-2-py3-none-any.whl": "bad0"})
    ['a-1-py3-none-any.whl']
    """
    known = {_canonical(pin): digests for pin, digests in wanted.items()}
    return [name for name, digest in wheels.items() if digest not in known.get(_read_name(name)[0], {digest})]


def _canonical(pin: str) -> str:
    name, _, version = pin.partition("==")
    return f"{canonicalize_name(name)}=={version}"


def _read_name(wheel: str) -> tuple[str, frozenset[tags.Tag]]:
    """Return the pin and the tags in a wheel's file name; "" and none if it is no wheel's."""
    try:
        project, version, _, built_for = parse_wheel_filename(wheel)
    except InvalidWheelFilename:
        return "", frozenset()
    return f"{project}=={version}", built_for


def fetch(wanted: Pins, target: Target, folder: Path) -> Iterator[tuple[list[Path], list[str]]]:
    """Fetch wheels of the pins into the folder, a few at a time; yield the new files, and what was not to be had.

    Each file is one whose SHA-256 the pin has, and is there whole or not at all. Nothing is built: what is built on one
    machine has a SHA-256 that no lock knows. Raises RagkitError if pip gets none of several pins, as without a network.
    """
    if importlib.util.find_spec("pip") is None:
        raise RagkitError("Wheels are fetched by pip, which this Python has not; run: python -m ensurepip")
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(wanted), _BATCH):
        batch = list(wanted)[start : start + _BATCH]
        files, _ = _download({pin: wanted[pin] for pin in batch}, target, folder)
        if files:
            yield files, []
            continue
        lacking = []
        for pin in batch:  # one of them has no wheel, and pip keeps none of a batch that fails
            files, why = _download({pin: wanted[pin]}, target, folder)
            if not files:
                lacking.append(f"{pin} for {target.name}: {why}")
            yield files, lacking[-1:] if not files else []
        if len(lacking) == len(batch) > 1:
            raise RagkitError(f"pip could fetch no wheel at all; {lacking[0]}. Is there a network? Then run it again.")


def _download(wanted: Pins, target: Target, folder: Path) -> tuple[list[Path], str]:
    """Have pip fetch wheels beside the folder and move them into it; return them, and why there are none."""
    with beside(folder) as room:
        asked, partial = room / "requirements.txt", room / "wheels"
        lines = [" ".join([pin, *(f"--hash=sha256:{one}" for one in sorted(known))]) for pin, known in wanted.items()]
        asked.write_text("\n".join(lines), "utf8", newline="\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--only-binary=:all:", "--implementation=cp"]
        command += ["--ignore-requires-python"]  # the lock's markers say it; to pip 3.11 is 3.11.0
        command += ["--python-version={}.{}".format(*target.python), *(f"--platform={p}" for p in target.platforms)]
        done = subprocess.run([*command, "-r", asked, "--dest", partial], capture_output=True, text=True)
        files = []
        for file in sorted(partial.glob("*.whl")) if done.returncode == 0 else []:
            os.replace(file, folder / file.name)
            files.append(folder / file.name)
    return files, _why(done.stderr)


def _why(said: str) -> str:
    """Return pip's last line, without the file that it was asked from.

    >>> _why("ERROR: No matching distribution found for a==1 (from -r wanted.txt (line 1))")
    'ERROR: No matching distribution found for a==1'
    """
    if "DO NOT MATCH THE HASHES" in said:
        return "the wheel that was found is not the lock's, its SHA-256 differs"
    return re.sub(r" \(from -r .*\)$", "", (said.strip().splitlines() or ["no wheel"])[-1])
