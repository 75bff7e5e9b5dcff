"""Disks that are too small, or that something else fills meanwhile: tmpfs, which keeps files whole, and ext4.

Each trial mounts a disk of its own in a process of its own, whose mounts end with it; so a bus error is seen and leaves
nothing. After a clear error there is made room, and the next run must continue to the same result.
"""

import functools
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import ragkit
from ragkit import cli
from ragkit.datasets.judging import Judgments
from ragkit.engines.edge import EdgeIndex
from ragkit.engines.ingest import plan
from tests.faults.damages import INDEXES, answers, dataset_of, encoders_of, index_in
from tests.faults.trials import CLEAR, SURVIVED, Room, Trial, ask

MB = 1_000_000
OLD = "what was there before\n"


def lacking() -> str | None:
    """Return why no disk can be mounted here, None if one can."""
    if not shutil.which("unshare"):
        return "there is no unshare to mount a disk with"
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"], check=False)
    return None if tried.returncode == 0 else "mounting a disk needs root"


def prepare(kit: Path) -> None:
    os.environ |= {"RAGKIT_CACHE": str(kit / "cache"), "RAGKIT_MIRROR": ""}
    expected = {}
    for name in INDEXES:
        size = plan(dataset_of(name), encoders_of(name), kit / name).disk_bytes
        with index_in(name, kit / name) as index:
            expected[name] = (size, answers(name, index))
    (kit / "expected.pickle").write_bytes(pickle.dumps(expected))


def trials(rng: random.Random) -> Iterator[Trial]:
    for system in ("tmpfs", "ext4"):
        for name in INDEXES:
            for number in range(6):
                # From a disk that hardly holds a folder to one that is larger than a plan of tmpfs asks for.
                size = int(4 * MB * 2.6**number * rng.uniform(0.8, 1.25))
                for how in ("small", "filled"):
                    yield _trial(f"{system} of {size / MB:.0f} MB, {how}: {name}", system, size, how, name, rng)
    for what in ("json", "html", "export", "import", "judgments"):
        for free in (0, 1, 4, 12, 40, 400):  # KiB
            yield _trial(f"tmpfs with {free} KiB free: {what}", "tmpfs", 4 * MB, what, str(free), rng)


def _trial(title: str, system: str, size: int, how: str, name: str, rng: random.Random) -> Trial:
    arguments = [system, str(size), how, name, str(rng.randrange(2**32))]
    return Trial(title, functools.partial(_apart, arguments=arguments), seconds=180)


def _apart(room: Room, arguments: list[str]) -> str:
    """Run a trial in a process that has its mounts for itself; return what it came to."""
    command = [
        "unshare",
        "-m",
        sys.executable,
        "-m",
        "tests.faults.disks",
        str(room.kit),
        str(room.scratch),
        *arguments,
    ]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    told = done.stdout.strip().splitlines()[-1:]
    assert done.returncode == 0 and told in ([CLEAR], [SURVIVED]), (
        f"status {done.returncode}: {' '.join(done.stderr.split())[-300:]}"
    )
    return told[0]


def _mount(system: str, size: int, scratch: Path) -> Path:
    place = scratch / "disk"
    place.mkdir()
    if system == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size // 1024}k", "tmpfs", place], check=True)
        return place
    with open(scratch / "image", "wb") as image:
        image.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", scratch / "image"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["mount", "-o", "loop", scratch / "image", place], check=True)
    return place


def _fill(place: Path, leave: int) -> Path:
    """Fill a disk but for so many bytes; return the file that does."""
    filler = place / "filler"
    more = max(0, shutil.disk_usage(place).free - leave)
    with suppress(OSError), open(filler, "ab", buffering=0) as file:  # the file itself takes something, too
        for _ in range(0, more, 4096):
            file.write(bytes(4096))
    return filler


def _indexed(kit: Path, place: Path, system: str, how: str, name: str, seed: int) -> str:
    """Ingest on a small disk, or one that is filled before a batch; then with room enough."""
    rng, expected = random.Random(seed), pickle.loads((kit / "expected.pickle").read_bytes())[name][1]
    EdgeIndex.batch_bytes = 200_000
    upsert, left = EdgeIndex._upsert, [rng.randrange(8)]

    def filling(self, *batch):
        if left[0] == 0:
            _fill(place, rng.choice([0, 4096, 100_000, 1_000_000]))
        left[0] -= 1
        return upsert(self, *batch)

    def work():
        with index_in(name, place / "index") as index:
            return answers(name, index)

    if how == "filled":
        EdgeIndex._upsert = filling
    said = ask(work, lambda found: found == expected)
    EdgeIndex._upsert = upsert
    if said == CLEAR:
        (place / "filler").unlink(missing_ok=True)
        if system == "tmpfs":
            subprocess.run(["mount", "-o", "remount,size=2g", place], check=True)
            assert work() == expected, "continued to another result"
        elif how == "filled":
            assert ask(work, lambda found: found == expected) in (CLEAR, SURVIVED)
    return said


def _written(kit: Path, place: Path, what: str, free: int) -> str:
    """Write results to a disk that is nearly full: the new ones whole, or the old ones stay."""
    out = place / "out"
    out.mkdir()
    commands = {
        "json": ["compare", "movies", "--systems", "dense", "--json", str(out / "file")],
        "html": ["compare", "movies", "--systems", "dense", "--html", str(out / "file")],
        "export": ["compare", "movies", "--systems", "dense", "--export", str(out)],
        "import": [
            "import",
            str(ragkit.paths.data_dir() / "library_faq.csv"),
            "--text",
            "answer",
            "--to",
            str(out / "set"),
        ],
    }
    names = {"json": ["file"], "html": ["file"], "export": ["dense.run", "qrels.txt"], "import": []}[what]
    for name in names:
        (out / name).write_text(OLD)
    _fill(place, free * 1024)
    status = cli.main(commands[what])
    assert status in (0, 2), status
    there = sorted(path.name for path in out.rglob("*") if path.is_file())
    assert not [name for name in there if name.startswith(".")], there
    if what == "import":
        assert there == (["corpus.jsonl", "queries.jsonl"] if status == 0 else []), there
        assert status == 0 or not [*out.iterdir()], "a folder is left"
    for name in names:
        text = (out / name).read_text("utf8")
        whole = {"file": text.rstrip().endswith(("}", "</html>")), "qrels.txt": text.count("\n") == 800}
        assert text == OLD and status == 2 or whole.get(name, text.endswith(" dense\n")), f"{name}: {text[-80:]!r}"
        assert status == 2 or text != OLD
    return SURVIVED if status == 0 else CLEAR


def _judged(kit: Path, place: Path, what: str, free: int) -> str:
    """Judge until the disk is full, and then with room: whatever was acknowledged is there."""
    filler, acknowledged, said = _fill(place, free * 1024), [], SURVIVED
    judgments = Judgments(place / "mine.jsonl")
    for number in range(6000):
        said = ask(lambda number=number: judgments.record(f"q{number}", "d", number % 3))
        if said == CLEAR:
            break
        acknowledged.append((f"q{number}", "d", number % 3))
    filler.unlink()
    judgments.record("later", "d", 1)
    found = set(Judgments(place / "mine.jsonl").table().itertuples(index=False, name=None))
    missing = {*acknowledged, ("later", "d", 1)} - found
    assert not missing, f"{len(missing)} of {len(acknowledged)} judgments are lost"
    return said


def main(kit: Path, scratch: Path, system: str, size: int, how: str, name: str, seed: int) -> None:
    os.environ |= {"RAGKIT_CACHE": str(kit / "cache"), "RAGKIT_MIRROR": "", "TQDM_DISABLE": "1"}
    place = _mount(system, size, scratch)
    work: Callable[..., str]
    if how in ("small", "filled"):
        said = _indexed(kit, place, system, how, name, seed)
    else:
        work = _judged if how == "judgments" else _written
        said = work(kit, place, how, int(name))
    print(said)


if __name__ == "__main__":
    kit, scratch, system, size, how, name, seed = sys.argv[1:]
    main(Path(kit), Path(scratch), system, int(size), how, name, int(seed))
