"""A cluster of real components in Linux namespaces: no Docker, no image registry, nothing left when it stops.

Each node is one `unshare` whose child is PID 1 of the node (`node`); killing the unshare ends every process, mount and
interface of the node. Only cgroups and the bridge are the machine's, and `down` removes them. containerd's store of
images stays in the cache, because filling it takes longer than everything else.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import yaml
from cluster import archives, binaries, cache, certificates, cgroups, kubectl, layout, processes
from support import wait_until

START_SECONDS = 180
STOP_SECONDS = 60
LOAD_SECONDS = 900
QUICK_SECONDS = 30
LINKS = Path("/sys/class/net")
PROGRAMS = (
    "containerd",
    "ctr",
    "runc",
    "etcd",
    "iptables",
    "conntrack",
    "ip",
    "nsenter",
    "unshare",
    "setpriv",
    "openssl",
)
PAUSE = archives.Program("pause", "localhost/pause:1", user="65535:65535")


class Namespaces:
    """The one such cluster of this machine: its addresses are fixed."""

    bare = True
    equipped = False

    def __init__(self) -> None:
        self.state = cache.root() / "cluster" / "state"
        self.store = cache.root() / "cluster" / "store"

    @property
    def kubeconfig(self) -> Path:
        """Made by `up`."""
        return self.state / "admin.conf"

    def up(self, *, tied: bool = False) -> None:
        """Start both nodes and return when they are Ready (about 15 s). Raises Unavailable.

        With `tied` they end with the calling process, however it ends.
        """
        _check()
        _check_place(self.state)
        programs = binaries.ensure()
        if any(self._alive(node) for node in layout.NODES):
            raise binaries.Unavailable("a test cluster runs on this machine: `make cluster-down`, or E2E_KUBECONFIG")
        self.down()
        try:
            self._prepare(programs)
            for node in layout.NODES:
                self._start(node, programs, tied=tied)
            self.load(archives.write(PAUSE, programs, programs))
            self._await_ready()
        except BaseException:
            self.down(keep_logs=True)
            raise

    def load(self, archive: Path, *, only: str = "") -> None:
        """Put an image on both nodes at once, or on that one; one that a node's store holds is not sent again."""
        nodes = [node for node in layout.NODES if only in {"", node.name}]
        with ThreadPoolExecutor(len(layout.NODES)) as pool:
            list(pool.map(lambda node: self._load(node, archive), nodes))

    def down(self, *, keep_logs: bool = False) -> None:
        """Kill the nodes; remove the bridge, the cgroups and the state."""
        for node in layout.NODES:
            self._kill(node)
        links = [layout.BRIDGE, *(node.veth for node in layout.NODES)]
        for link in links:
            _remove_link(link)
        for node in layout.NODES:
            cgroups.remove(node.cgroup)
        if not keep_logs and self.state.exists():
            shutil.rmtree(self.state)

    def leftovers(self) -> list[str]:
        """What of a cluster is on this machine now; empty after `down`."""
        mine = str(self.state)
        found = processes.traces(mine)
        links = (layout.BRIDGE, *(node.veth for node in layout.NODES))
        found += [f"interface {link}" for link in links if (LINKS / link).exists()]
        found += [f"cgroup {group}" for node in layout.NODES for group in cgroups.found(node.cgroup)]
        return found + ([f"folder {mine}"] if self.state.exists() else [])

    def shell(self, node: layout.Node, *command: str) -> list[str]:
        """A command line that runs `command` inside the node."""
        return ["nsenter", "-a", "-t", str(self._inner(node)), *command]

    def _prepare(self, programs: Path) -> None:
        for node in layout.NODES:
            folder = self.state / node.name
            for path in (folder / "log", folder / "cni", folder / "kubelet", self.store / node.name):
                path.mkdir(parents=True, exist_ok=True)
            pki = self.state / "pki"
            files = {
                "containerd.toml": layout.containerd(folder, self.store / node.name / "containerd"),
                "cni/10-academy.conflist": json.dumps(layout.cni(folder, node)),
                "kubelet.yaml": yaml.safe_dump(layout.kubelet(folder, pki, node)),
                "kube-proxy.yaml": yaml.safe_dump(layout.kube_proxy(folder / "kube-proxy.conf")),
                # Pods ask the cluster's DNS; it forwards nothing, so they reach no name outside.
                "resolv.conf": f"nameserver {layout.DNS_IP}\n",
            }
            for name, content in files.items():
                (folder / name).write_text(content, encoding="utf-8")
            cgroups.make(node.cgroup)
        for name in ("tmp", *(f"tmp/volume-{number}" for number in range(layout.VOLUMES))):
            (self.state / name).mkdir()
            (self.state / name).chmod(0o1777)
        (self.state / "etcd").mkdir(mode=0o700)
        certificates.make(programs, self.state, binaries.kubernetes_version())
        _run("ip", "link", "add", layout.BRIDGE, "type", "bridge")
        _run("ip", "addr", "add", f"{layout.HOST_IP}/24", "dev", layout.BRIDGE)
        _run("ip", "link", "set", layout.BRIDGE, "up")

    def _start(self, node: layout.Node, programs: Path, *, tied: bool) -> None:
        own = [sys.executable, "-m", "cluster.node", node.name, str(programs), str(self.state)]
        unshare = ["unshare", "-m", "-u", "-i", "-n", "-p", "-f", "--mount-proc", "--kill-child=KILL"]
        tie = ["setpriv", "--pdeathsig=KILL", "--"] if tied else []
        log = self.state / node.name / "node.log"
        environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "HOME": "/root"}
        environment["PYTHONPATH"] = str(Path(__file__).parents[1])
        with log.open("ab") as output:
            started = subprocess.Popen(
                [*tie, *unshare, *own],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self._pid_file(node).write_text(str(started.pid), encoding="ascii")
        wait_until(
            lambda: self._inner(node) is not None,
            QUICK_SECONDS,
            f"{node.name} starts",
            lambda: started.poll() is None,
        )
        _run("ip", "link", "add", node.veth, "type", "veth", "peer", "name", "eth0", "netns", str(self._inner(node)))
        _run("ip", "link", "set", node.veth, "master", layout.BRIDGE)
        _run("ip", "link", "set", node.veth, "up")
        _run("ip", "route", "add", node.pod_cidr, "via", node.ip)
        if node.control_plane:
            _run("ip", "route", "add", layout.SERVICE_CIDR, "via", node.ip)

    def _await_ready(self) -> None:
        run = kubectl.Kubectl(self.kubeconfig)
        template = '{range .items[*]}{.status.conditions[?(@.type=="Ready")].status} {end}'

        def ready() -> bool:
            try:
                told = run("get", "nodes", "-o", f"jsonpath={template}")
            except kubectl.Refused:
                return False  # the API server is still starting
            return told.split() == ["True"] * len(layout.NODES)

        def running() -> bool:
            return all(self._alive(node) for node in layout.NODES)

        wait_until(ready, START_SECONDS, f"both nodes are Ready (logs: {self.state}/node*/log)", running)

    def _load(self, node: layout.Node, archive: Path) -> None:
        record = self.store / node.name / "images.json"
        known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        with tarfile.open(archive) as tar:
            member = tar.extractfile("manifest.json")
            if member is None:
                raise ValueError(f"{archive} is no image archive")
            images = {tag: image["Config"] for image in json.load(member) for tag in image["RepoTags"]}
        if images.items() <= known.items():
            return
        root = Path(f"/proc/{self._inner(node)}/root")
        wait_until(lambda: _listens(root), START_SECONDS, f"containerd of {node.name}", lambda: self._alive(node))
        ctr = self.shell(node, "ctr", "-a", layout.CRI_SOCKET, "-n", "k8s.io", "images")
        with archive.open("rb") as content:
            subprocess.run([*ctr, "import", "-"], stdin=content, check=True, capture_output=True, timeout=LOAD_SECONDS)
        # Tags are digests: one of the same name with another tag is what this image was before.
        names = {tag.rpartition(":")[0] for tag in images}
        before = [tag for tag in known if tag.rpartition(":")[0] in names and tag not in images]
        if before:
            subprocess.run([*ctr, "rm", *before], check=True, capture_output=True, timeout=LOAD_SECONDS)
        kept = {tag: config for tag, config in known.items() if tag not in before}
        _note(record, {**kept, **images})

    def _pid_file(self, node: layout.Node) -> Path:
        return self.state / node.name / "unshare.pid"

    def _outer(self, node: layout.Node) -> int | None:
        """The node's unshare, when it lives."""
        if not self._pid_file(node).exists():
            return None
        pid = int(self._pid_file(node).read_text(encoding="ascii"))
        line = next((line for found, line in processes.command_lines() if found == pid), "")
        return pid if "unshare" in line and str(self.state) in line else None

    def _inner(self, node: layout.Node) -> int | None:
        """PID, on the host, of the node's first process."""
        outer = self._outer(node)
        if outer is None:
            return None
        try:
            children = Path(f"/proc/{outer}/task/{outer}/children").read_text(encoding="ascii").split()
        except (FileNotFoundError, ProcessLookupError):
            return None  # it ended in this moment
        return int(children[0]) if children else None

    def _alive(self, node: layout.Node) -> bool:
        return self._inner(node) is not None

    def _kill(self, node: layout.Node) -> None:
        outer, inner = self._outer(node), self._inner(node)
        if outer is not None:
            with suppress(ProcessLookupError):
                os.kill(outer, signal.SIGKILL)
        if inner is not None:
            wait_until(lambda: not Path(f"/proc/{inner}").exists(), STOP_SECONDS, f"{node.name} ends")


def _check() -> None:
    """Everything that a machine may lack, in one message."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    lacking = [f"the program {name}" for name in PROGRAMS if shutil.which(name, path=path) is None]
    if not Path("/usr/lib/cni/bridge").exists():
        lacking.append("Debian's containernetworking-plugins")
    if os.geteuid() != 0:
        lacking.append("root: nodes are Linux namespaces with network interfaces")
    if lacking:
        message = f"the test cluster cannot run here; it lacks {', '.join(lacking)}. services/local/setup.sh e2e"
        raise binaries.Unavailable(f"{message} installs what Debian has; E2E_KUBECONFIG names another cluster")


def _check_place(state: Path) -> None:
    """A node sees nothing of the cache that lies where it has folders of its own."""
    hidden = [folder for folder in layout.OWN if state.is_relative_to(folder)]
    if hidden:
        message = f"the test cluster cannot run from {state}: its nodes have a {hidden[0]} of their own"
        raise binaries.Unavailable(f"{message}. XDG_CACHE_HOME names another place for the cache")


def _listens(root: Path) -> bool:
    """Whether the node of this root has its containerd's socket, in its own /run: at first it sees the machine's."""
    try:
        own = not (root / "run").samefile("/run")
    except OSError:
        return False  # it ended in this moment
    return own and Path(f"{root}{layout.CRI_SOCKET}").exists()


def _note(record: Path, images: Mapping[str, str]) -> None:
    """Write which images a node holds, all or nothing: later runs read it."""
    new = record.with_suffix(".new")
    new.write_text(json.dumps(images), encoding="utf-8")
    new.rename(record)


def _remove_link(name: str) -> None:
    """Remove an interface, unless it goes by itself meanwhile: a node's ends with the node, a moment later."""
    if not (LINKS / name).exists():
        return
    try:
        _run("ip", "link", "del", name)
    except RuntimeError:
        if (LINKS / name).exists():
            raise


def _run(*command: str) -> None:
    told = subprocess.run(command, capture_output=True, text=True, timeout=QUICK_SECONDS, check=False)
    if told.returncode:
        raise RuntimeError(f"{' '.join(command)}: {told.stderr.strip()}")
