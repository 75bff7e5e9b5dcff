"""The files that start Qdrant: what they must hold for ragkit; no container runs here."""

from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from ragkit.engines._grpc import port_beside

ROOT = Path(__file__).resolve().parent.parent
NODE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf8"))
CLUSTER = yaml.safe_load((ROOT / "compose.cluster.yaml").read_text("utf8"))
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf8"))


def flag(service, name):
    command = service["command"]
    return command[command.index(name) + 1] if name in command else None


@pytest.mark.parametrize("file", [NODE, CLUSTER], ids=["one node", "cluster"])
def test_every_node_is_pinned_kept_healthy_and_reached_from_this_machine_alone(file):
    volumes = []
    for service in file["services"].values():
        client = version("qdrant-client").rsplit(".", 1)[0]
        assert service["image"].startswith(f"qdrant/qdrant:v{client}."), "the server's minor version is the client's"
        assert "/readyz" in service["healthcheck"]["test"][-1]
        assert service["environment"]["QDRANT__SERVICE__API_KEY"] == "${QDRANT_API_KEY:-}"
        rest, grpc = (port.split(":") for port in service["ports"])
        assert [rest[0], rest[2]] == ["127.0.0.1", "6333"]
        # Where the kit looks for it: else documents are stored over REST, at half the pace.
        assert grpc == ["127.0.0.1", str(port_beside(int(rest[1]))), "6334"]
        (volume,) = service["volumes"]
        assert volume.endswith(":/qdrant/storage")
        volumes.append(volume.split(":")[0])
    assert sorted(volumes) == sorted(file["volumes"])  # each its own


def test_the_cluster_is_three_nodes_that_join_the_first():
    services = CLUSTER["services"]
    first, *others = services
    assert len(services) == 3 and flag(services[first], "--bootstrap") is None
    assert len({service["ports"][0] for service in services.values()}) == 3
    for name, service in services.items():
        assert service["environment"]["QDRANT__CLUSTER__ENABLED"] == "true"
        assert flag(service, "--uri") == f"http://{name}:6335"
    for name in others:
        assert flag(services[name], "--bootstrap") == flag(services[first], "--uri")
        assert services[name]["depends_on"] == {first: {"condition": "service_healthy"}}


def test_the_workflow_runs_the_server_tests_on_both():
    server = WORKFLOW["jobs"]["server"]
    files = {row["file"]: row for row in server["strategy"]["matrix"]["include"]}
    assert set(files) == {"compose.yaml", "compose.cluster.yaml"}
    assert (files["compose.cluster.yaml"]["shards"], files["compose.cluster.yaml"]["replicas"]) == (6, 2)
    commands = "\n".join(step.get("run", "") for step in server["steps"])
    assert "docker compose -f ${{ matrix.file }} up -d --wait" in commands and "pytest tests -m server" in commands
    image = NODE["services"]["qdrant"]["image"]
    assert f"/releases/download/{image.partition(':')[2]}/" in commands, "the program is of the image's version"
    assert "make again ONLY=server" in commands
    assert server["env"]["RAGKIT_GRPC"], "an upload that does not go over gRPC fails there, and is not skipped"
    assert server["timeout-minutes"] == 60
