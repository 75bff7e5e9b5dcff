"""`python -m tests.faults`, which is `make faults`: every fault again, and the table of docs/reliability.md."""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections import Counter
from datetime import date
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from ragkit.files import write_text
from tests.faults import running
from tests.faults.trials import CLEAR, SURVIVED, WRONG

DOCS = Path(__file__).resolve().parents[2] / "docs"
FOUND = DOCS / "results" / "faults.json"
AREAS = ["kills", "damages", "disks", "places", "inputs", "signals", "servers"]
BEGIN, END = "<!-- faults -->", "<!-- /faults -->"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", help="areas, separated by commas (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="which faults are drawn")
    parser.add_argument("--share", type=float, default=1.0, help="the part of the trials that is run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--render", action="store_true", help="write docs/reliability.md's table; areas left out stay")
    arguments = parser.parse_args()
    areas = arguments.only.split(",") if arguments.only else AREAS
    os.environ["TQDM_DISABLE"] = "1"  # in the workers; the bar below is told otherwise
    report = {"date": date.today().isoformat(), "seed": arguments.seed, "share": arguments.share, **_versions()}
    rows, wrong = [], []
    for area in areas:
        count, started = Counter(), time.monotonic()
        total = len(running.trials_of(area, arguments.seed, arguments.share))
        outcomes = running.run(area, arguments.seed, arguments.share, arguments.workers)
        for outcome in tqdm(outcomes, area, total=total, disable=False, leave=False, mininterval=5):
            count[outcome.outcome] += 1
            if outcome.outcome == WRONG:
                wrong.append({"area": area, "trial": outcome.name, "how": outcome.how})
                print(f"WRONG {area}: {outcome.name}: {outcome.how}", flush=True)
        title = importlib.import_module(f"tests.faults.{area}").__doc__.strip().splitlines()[0].rstrip(".")
        if missing := running.lacking(area):
            title += f"; not tried, since {missing}"
        seconds = round(time.monotonic() - started)
        rows.append(
            {
                "area": area,
                "what": title,
                "tried": total,
                "seconds": seconds,
                **{k: count[k] for k in (CLEAR, SURVIVED, WRONG)},
            }
        )
        print(f"{area}: {total} tried, {dict(count)}, {seconds} s")
    report |= {"rows": rows, "wrong": wrong}
    if arguments.render:
        report = _with_others(report)
        write_text(FOUND, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        for path, text in pages(report).items():
            write_text(path, text)
    return 1 if wrong else 0


def pages(report: dict) -> dict[Path, str]:
    """Return docs/reliability.md with a report's table, and the README with its sentence, between their marks."""
    found = {}
    for path, own in ((DOCS / "reliability.md", table(report)), (DOCS.parent / "README.md", sentence(report))):
        before, _, rest = path.read_text("utf8").partition(BEGIN)
        found[path] = f"{before}{BEGIN}\n{own}\n{END}{rest.partition(END)[2]}"
    return found


def sentence(report: dict) -> str:
    """Return what the README says of a report."""
    tried, clear, survived, wrong = (sum(row[k] for row in report["rows"]) for k in ("tried", CLEAR, SURVIVED, WRONG))
    return (
        f"Of {tried:,} injected faults (`make faults`, {report['date']}),\n{clear:,} end in one clear error and "
        f"{survived:,} are survived; wrong: {wrong}. [The table](docs/reliability.md) has them by area."
    )


def _with_others(report: dict) -> dict:
    """Return a report with the areas that were left out, as an earlier run of the same seed and versions has them."""
    before = json.loads(FOUND.read_text("utf8")) if FOUND.exists() else {}
    alike = all(before.get(key) == value for key, value in report.items() if key not in ("date", "rows", "wrong"))
    tried = {row["area"] for row in report["rows"]}
    rows = [row for row in before.get("rows", []) if alike and row["area"] not in tried] + report["rows"]
    wrong = [one for one in before.get("wrong", []) if alike and one["area"] not in tried] + report["wrong"]
    return report | {"rows": sorted(rows, key=lambda row: AREAS.index(row["area"])), "wrong": wrong}


def table(report: dict) -> str:
    """Return a run's report as the Markdown of docs/reliability.md."""
    lines = [f"| area | tried | {CLEAR} | {SURVIVED} | {WRONG} |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in report["rows"]:
        figures = " | ".join(f"{row[key]:,}" for key in ("tried", CLEAR, SURVIVED, WRONG))
        lines.append(f"| {row['what']} (`{row['area']}`) | {figures} |")
    total = " | ".join(f"{sum(row[key] for row in report['rows']):,}" for key in ("tried", CLEAR, SURVIVED, WRONG))
    lines += [f"| **all** | {total} |", ""]
    minutes = sum(row["seconds"] for row in report["rows"]) / 60
    versions = ", ".join(
        f"{name} {report[name]}" for name in ("ragkit", "qdrant-edge-py", "qdrant-client", "fastembed")
    )
    lines.append(
        f"`make faults`, seed {report['seed']}, {report['date']}: {versions}, Python {report['python']}, "
        f"{report['system']}, {report['cores']} cores, {minutes:.0f} minutes."
    )
    if report["wrong"]:
        lines += ["", "| wrong | what happened |", "| --- | --- |"]
        lines += [f"| {w['area']}: {w['trial']} | {w['how'].replace('|', '/')} |" for w in report["wrong"]]
    return "\n".join(lines)


def _versions() -> dict:
    found = {name: version(name) for name in ("ragkit", "qdrant-edge-py", "qdrant-client", "fastembed")}
    return found | {"python": platform.python_version(), "system": platform.system(), "cores": os.cpu_count()}


if __name__ == "__main__":
    sys.exit(main())
