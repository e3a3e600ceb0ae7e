"""What a worker's token may do (templates/shared/deletion-cost.yaml); tests/e2e asks a real kube-apiserver."""

from charts_support import stage

from academy_core import deletion_cost


def test_workers_may_patch_pods_and_nothing_else() -> None:
    release = stage(1)
    roles = release.of("Role")
    assert set(roles) == {"academy-deletion-cost"}
    assert roles["academy-deletion-cost"]["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}]
    subjects = release.get("RoleBinding", "academy-deletion-cost")["subjects"]
    assert {subject["name"] for subject in subjects} == {
        name for name, pod in release.pods() if pod["spec"]["automountServiceAccountToken"]
    }
    assert release.of("ClusterRole") == release.of("ClusterRoleBinding") == {}


def test_the_policy_is_bound_to_deny_and_fails_shut() -> None:
    release = stage(1)
    name = "academy-academy-deletion-cost"
    policy = release.get("ValidatingAdmissionPolicy", name)["spec"]
    assert policy["failurePolicy"] == "Fail"
    binding = release.get("ValidatingAdmissionPolicyBinding", name)["spec"]
    assert binding == {"policyName": name, "validationActions": ["Deny"]}
    (condition,) = policy["matchConditions"]
    for subject in release.get("RoleBinding", "academy-deletion-cost")["subjects"]:
        assert f"'system:serviceaccount:academy:{subject['name']}'" in condition["expression"]


def test_it_is_about_the_annotation_that_workers_set() -> None:
    policy = stage(1).get("ValidatingAdmissionPolicy", "academy-academy-deletion-cost")["spec"]
    expressions = {variable["name"]: variable["expression"] for variable in policy["variables"]}
    assert expressions["cost"] == f"'{deletion_cost.ANNOTATION}'"


def test_a_worker_knows_its_pod() -> None:
    for name in ("academy-video-worker", "academy-ai-worker-cpu", "academy-ai-worker-gpu"):
        (container,) = stage(1).get("Deployment", name)["spec"]["template"]["spec"]["containers"]
        assert {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}} in container["env"]
