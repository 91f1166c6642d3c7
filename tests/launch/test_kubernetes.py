"""What Kubernetes is given. That its commands train is shown in tests/cluster/test_pods.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubeflow_trainer_api.models.trainer_v1alpha1_train_job import TrainerV1alpha1TrainJob
from kubeflow_trainer_api.models.trainer_v1alpha1_training_runtime import TrainerV1alpha1TrainingRuntime

from zerotrain.launch.job import Job, Order
from zerotrain.launch.kubernetes import object_name, prepare
from zerotrain.spec.load import load_spec

Make = Callable[..., Order]

GOLDEN = Path(__file__).parents[1] / "golden" / "kubernetes"

PLAIN = "type: kubernetes, image: zerotrain:1, volumes: [{type: claim, name: training, path: /workspace}]"
FULL = (
    "type: kubernetes, image: 'registry.example/zerotrain@sha256:00', namespace: research, context: lab, "
    "directory: /shared/work, cpus: '96', memory: 900Gi, shared_memory: 64Gi, gpu_resource: amd.com/gpu, "
    "resources: {rdma/hca: '8'}, secrets: {HF_TOKEN: hub/token}, pull_secrets: [registry], max_restarts: 5, "
    "port: 12345, queue: research, priority: high, service_account: trainer, user: 1000, group: 1000, "
    "node_selector: {disk: 'yes'}, "
    "tolerations: [{key: amd.com/gpu, operator: Exists}], labels: {team: '1e3'}, "
    "annotations: {k8s.v1.cni.cncf.io/networks: ib0}, host_network: true, keep: 7 days, grace: 10 minutes, "
    "timeout: 1 hour, environment: {NCCL_DEBUG: INFO}, volumes: ["
    "{type: host, source: /lustre, path: /shared}, {type: claim, name: data, path: /data, read_only: true}, "
    "{type: secret, name: keys, path: /keys}, {type: config_map, name: settings, path: /settings}, "
    "{type: scratch, size: 500Gi, path: /scratch}, {type: scratch, path: /tmp}]"
)
SEVERAL = {
    "name": "Llama_3.1",
    "hardware": "{gpu: H100-SXM, num_nodes: 4, gpus_per_node: 8}",
    "batch": "{global_batch_size: 32, micro_batch_size: 1}",
}


@pytest.fixture(params=["one_pod", "job", "trainjob"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def job(order: Make, name: str) -> Job:
    made = order(launch=f"{{{PLAIN}}}") if name == "one_pod" else order(launch=f"{{{FULL}, kind: {name}}}", **SEVERAL)
    return prepare(replace(made, attempt=None))


def objects(job: Job) -> list[dict[str, Any]]:
    (text,) = job.files.values()
    return list(yaml.safe_load_all(text))


def test_the_whole_file(job: Job, name: str) -> None:
    (text,) = job.files.values()

    assert text == (GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_schemas_allow_the_objects(job: Job, version: str) -> None:
    for each in objects(job):
        if each["apiVersion"].startswith("trainer.kubeflow.org"):
            continue
        kubernetes_validate.validate(each, version, strict=True)


def test_the_schemas_find_a_key_that_is_not_there(order: Make) -> None:
    *_, wrong = objects(prepare(replace(order(launch=f"{{{PLAIN}}}"), attempt=None)))
    wrong["spec"]["template"]["spec"]["restartsPolicy"] = "Never"

    with pytest.raises(kubernetes_validate.ValidationError, match="restartsPolicy"):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


def test_kubeflow_knows_every_key_of_a_trainjob(order: Make) -> None:
    made = order(launch=f"{{{FULL}, kind: trainjob}}", **SEVERAL)
    _, runtime, train_job = objects(prepare(replace(made, attempt=None)))
    known = [
        kind.from_dict(each)
        for kind, each in ((TrainerV1alpha1TrainingRuntime, runtime), (TrainerV1alpha1TrainJob, train_job))
    ]

    assert [each.to_dict() for each in known if each is not None] == [runtime, train_job]
    (node,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": node["template"]["spec"]}
    kubernetes_validate.validate(job, "1.37", strict=True)


def test_pods_read_the_same_run(job: Job, order: Make, name: str, tmp_path: Path) -> None:
    file = tmp_path / "of_pods.yaml"
    file.write_text(objects(job)[0]["data"]["spec.yaml"], encoding="utf-8")
    spec, given = load_spec(file), order(**({} if name == "one_pod" else SEVERAL)).spec

    assert spec.model_copy(update={"launch": given.launch}) == given
    assert (spec.launch.type == "local") == (name == "one_pod")


def test_kubectl_is_told_where(job: Job, name: str) -> None:
    (command,), (path,) = job.commands, job.files
    where = () if name == "one_pod" else ("--context", "lab", "--namespace", "research")

    assert command.arguments == ("kubectl", *where, "apply", "--filename", str(path))
    assert str(path) == ("runs/tiny.kubernetes.yaml" if name == "one_pod" else "runs/Llama_3.1.kubernetes.yaml")
    assert all(" ".join(("kubectl", *where)) in hint for hint in job.hints[:-1])


@pytest.mark.parametrize(
    ("run", "expected"),
    [("tiny", "tiny"), ("Llama_3.1-8B", "llama-3-1-8b"), ("7b", "run-7b"), ("a" * 60 + "-b", "a" * 52), ("x.", "x")],
)
def test_a_run_has_a_name_that_kubernetes_can_have(run: str, expected: str) -> None:
    assert object_name(run) == expected


def test_texts_that_look_like_something_else_stay_texts(order: Make) -> None:
    made = order(launch=f"{{{PLAIN}, labels: {{a: '1e3', b: 'no', c: '0x10'}}, annotations: {{d: \"x: $(y)\\n'z'\"}}}}")
    (text,) = prepare(replace(made, attempt=None)).files.values()
    *_, job = yaml.safe_load_all(text)

    assert '"1e3"' in text  # a number for YAML 1.2, a text for PyYAML
    assert [job["metadata"]["labels"][key] for key in "abc"] == ["1e3", "no", "0x10"]
    assert job["spec"]["template"]["metadata"]["annotations"] == {"d": "x: $(y)\n'z'"}
