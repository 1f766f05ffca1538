"""The files of `configs/cluster` are what their readers take: KubeRay's schema, Ray's launcher, Docker, Slurm."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "cluster"
REPO = FOLDER.parents[1]
CRDS = "KUBERAY_CRDS"
KINDS = {"rayjob.yaml": "ray.io_rayjobs.yaml", "raycluster.yaml": "ray.io_rayclusters.yaml"}
STUBS = {
    "scontrol": 'printf "one\\ntwo\\n"',
    "srun": 'while [[ $1 == -* ]]; do if [[ $1 == -w ]]; then shift; fi; shift; done; exec "$@"',
    "hostname": "echo 127.0.0.1",
}
"""What Slurm's commands do where every node is this machine."""


def page(name: str) -> dict:
    return yaml.safe_load((FOLDER / name).read_text("utf-8"))


def cluster(name: str) -> dict:
    spec = page(name)["spec"]
    return spec.get("rayClusterSpec", spec)


def pods(name: str) -> list[dict]:
    spec = cluster(name)
    templates = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    job = page(name)["spec"].get("submitterPodTemplate")
    return [group["template"]["spec"] for group in templates] + ([job["spec"]] if job else [])


def closed(schema):
    """An OpenAPI schema that takes no field it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    named = "properties" in made and isinstance(made["properties"], dict)
    if named and "additionalProperties" not in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    if made.pop("x-kubernetes-int-or-string", False):
        made = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    return made


@pytest.mark.parametrize("name", KINDS)
def test_kuberay_takes_the_manifest(name):
    folder = os.environ.get(CRDS)
    if not folder:
        pytest.skip(f"{CRDS} is not set: the folder ray-operator/config/crd/bases of a clone of ray-project/kuberay")
    import jsonschema

    crd = yaml.load((Path(folder) / KINDS[name]).read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (schema,) = (v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["name"] == "v1")
    validator = jsonschema.Draft7Validator(closed(schema))
    assert [f"{list(fault.path)}: {fault.message}" for fault in validator.iter_errors(page(name))] == []
    wrong = page(name)
    wrong["spec"]["entrypiont"] = "x"
    assert list(validator.iter_errors(wrong)), "a field that is misspelt is seen"


@pytest.mark.parametrize("name", KINDS)
def test_every_node_has_the_same_image_and_secrets_by_reference(name):
    containers = [container for pod in pods(name) for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1
    for container in containers:
        assert "env" not in container, "values stand in secrets, not here"
        wants, most = container["resources"]["requests"], container["resources"]["limits"]
        assert wants["memory"] == most["memory"] or container["name"] == "submitter"
    assert cluster(name)["authOptions"]["mode"] == "token"


@pytest.mark.parametrize("name", KINDS)
def test_ray_is_the_version_that_is_tested(name):
    pinned = re.search(r"^ray==(\S+)$", (REPO / "constraints.txt").read_text(), re.MULTILINE)
    assert cluster(name)["rayVersion"] == pinned[1]  # type: ignore[index]
    version = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]
    images = {c["image"] for pod in pods(name) for c in pod["containers"]} | {page("aws.yaml")["docker"]["image"]}
    assert images == {f"REGISTRY/maetdol:{version}"}


def test_rays_launcher_takes_the_file_for_ec2():
    import json

    import jsonschema
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(page("aws.yaml"), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(page("aws.yaml") | {"max_wokers": 3}, schema)


def test_the_image_copies_what_is_there_and_installs_extras_that_are():
    lines = (FOLDER / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    copied = {part for line in lines if line.startswith("COPY ") for part in shlex.split(line)[1:-1]}
    assert copied and all((REPO / part).exists() for part in copied)
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"], "constraints.txt"} <= copied, "pip reads them"
    extras = re.search(r'-e "\.\[([^]]+)\]"', "\n".join(lines))[1].split(",")  # type: ignore[index]
    assert set(extras) <= set(project["optional-dependencies"])
    assert any(line.startswith("RUN maetdol doctor --warm") for line in lines)


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_what_the_comments_say_to_type_can_be_parsed(name):
    text = (FOLDER / name).read_text("utf-8")
    commands = re.findall(r"^#   (.+)$", text, re.MULTILINE)
    assert commands
    for command in commands:
        for path in re.findall(r"(?<![\w/])configs/\S+\.yaml", command):
            assert (REPO / path).exists(), path


def test_the_recipe_of_a_job_is_one_of_ours():
    from pipeline.engine.recipe import load

    entry = shlex.split(page("rayjob.yaml")["spec"]["entrypoint"])
    assert entry[:2] == ["maetdol", "run"]
    recipe = load(REPO / "configs" / "ray-cluster.yaml")
    assert recipe.run.address == "auto" and recipe.run.wait > 0, "nodes come up from none"
    gpus = max(hardware.gpus for hardware in recipe.run.steps.values())
    assert (
        any("nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"] for pod in pods("rayjob.yaml")) or not gpus
    )


def test_the_slurm_script_is_a_script():
    subprocess.run(["bash", "-n", str(FOLDER / "slurm.sh")], check=True)
    done = subprocess.run(["bash", str(FOLDER / "slurm.sh")], capture_output=True, text=True)
    assert done.returncode != 0 and "usage: sbatch" in done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_the_slurm_script_runs_a_recipe_over_two_nodes(tmp_path):
    """Slurm's commands are stubs, Ray and the recipe are not: two raylets of one CPU each."""
    import socket

    stubs = tmp_path / "bin"
    stubs.mkdir()
    for name, body in STUBS.items():
        (stubs / name).write_text(f"#!/bin/bash\n{body}\n")
        (stubs / name).chmod(0o755)
    (stubs / "maetdol").write_text(
        f'#!/bin/bash\nexec {sys.executable} -c "from pipeline.cli import main; main()" "$@"\n'
    )
    (stubs / "maetdol").chmod(0o755)
    (stubs / "ray").write_text(f'#!/bin/bash\nexec {sys.executable} -m ray.scripts.scripts "$@"\n')
    (stubs / "ray").chmod(0o755)
    (tmp_path / "texts").mkdir()
    for number in range(4):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"Page {number} of four. It has a sentence or two.\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: t\nroot: {tmp_path}/root\nsteps:\n  - ingest: {{from: '{tmp_path}/texts'}}\n  - pii\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "PATH": f"{stubs}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPO),
        "SLURM_JOB_NODELIST": "one,two",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "RAY_PORT": str(port),
    }
    done = subprocess.run(
        ["bash", str(FOLDER / "slurm.sh"), str(recipe)], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    from pipeline.storage.store import Store

    assert Store(tmp_path / "root" / "pii").manifest()["rows"] == 4  # type: ignore[index]
    assert not list(tmp_path.glob(".ray-token-*")), "the job's token is gone"
