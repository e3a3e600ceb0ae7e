"""The `academy` command: starts, stops and looks at the embedded platform, and publishes lectures on it."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich import console, live, progress, table

from academy_local import client, environment, home, processes, roles, sample, status, strays

app = typer.Typer(
    help="The whole platform on this machine: no Kubernetes, no Docker.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    # A boxed traceback shows values of variables, secrets among them.
    pretty_exceptions_enable=False,
)
out = console.Console()
err = console.Console(stderr=True)

START_SECONDS = 240.0
STOP_SECONDS = 90.0

Data = Annotated[Path, typer.Option(help="Data folder.", envvar="ACADEMY_DATA")]
DATA = Path(home.DEFAULT_FOLDER)


@app.command()
def up(
    data: Data = DATA,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Video workers.")] = 2,
    ai_workers: Annotated[int, typer.Option(min=0, max=64, help="AI workers for basic and lite.")] = 1,
) -> None:
    """Start the platform; return when it serves."""
    place = home.Home(data)
    if place.running():
        out.print("The platform is running already.")
    else:
        _start(place, roles.Workers(workers, ai_workers))
    _print_addresses(place)


@app.command()
def down(data: Data = DATA) -> None:
    """Stop the platform. Its data stays in the folder, for the next `up`."""
    place = home.Home(data)
    if not place.folder.exists():
        out.print("There is no platform here.")
        return
    state = place.state()
    if place.running() and state is not None:
        os.kill(state.supervisor, signal.SIGTERM)
        if not _wait(lambda: not place.running(), STOP_SECONDS):
            os.kill(state.supervisor, signal.SIGKILL)
            _wait(lambda: not place.running(), STOP_SECONDS)
    strays.end(place)
    for role in itertools.chain.from_iterable(roles.stages(place, roles.Workers(0, 0))):
        role.server.tidy()
    out.print("Stopped.")


@app.command("status")
def show_status(
    data: Data = DATA,
    *,
    once: Annotated[bool, typer.Option("--once", help="Print once instead of following.")] = False,
) -> None:
    """A live table of processes, queues and lectures under way; Ctrl-C ends it."""
    place = _running(data)
    with status.Reader(place) as reader:
        if once or not out.is_terminal:
            out.print(reader.render())
            return
        with live.Live(reader.render(), console=out, refresh_per_second=2) as screen:
            try:
                while place.running():
                    time.sleep(1)
                    screen.update(reader.render())
            except KeyboardInterrupt:
                return


@app.command()
def logs(
    process: Annotated[str, typer.Argument(help="api, relay, video-1 …; all when left out.")] = "",
    data: Data = DATA,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last lines of each log.")] = 50,
) -> None:
    """The processes' logs."""
    place = home.Home(data)
    files = sorted(place.logs.glob(f"{process or '*'}.log"))
    if not files:
        names = ", ".join(sorted(file.stem for file in place.logs.glob("*.log"))) or "-"
        _fail(f"'{process}' 로그가 없습니다. 있는 것: {names}", f"There is no log of '{process}'. There are: {names}")
    tail = ["tail", f"--lines={lines}", *(["--follow=name"] if follow else []), *map(str, files)]
    raise typer.Exit(subprocess.run(tail, check=False).returncode)  # noqa: S603 - our own command line


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(help="A video file.", exists=True, dir_okay=False, readable=True)],
    data: Data = DATA,
    title: Annotated[str, typer.Option(help="Title; the file's name when left out.")] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Upload a lecture over the public API, wait until it is complete, print its signed playback URL."""
    place = _running(data)
    try:
        published = _publish(place, file, title or file.stem, quiet=as_json)
    except client.Refused as refusal:
        if as_json:
            sys.stdout.write(json.dumps({"reason": refusal.code, "ko": refusal.ko, "en": refusal.en}) + "\n")
            raise typer.Exit(1) from None
        _fail(refusal.ko, f"{refusal.en} ({refusal.code})")
    if as_json:
        sys.stdout.write(json.dumps(published.to_dict()) + "\n")
    else:
        _print_published(published)


@app.command()
def demo(
    file: Annotated[Path | None, typer.Argument(help="Your own video; a sample is drawn when left out.")] = None,
    data: Data = DATA,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Video workers.")] = 2,
    ai_workers: Annotated[int, typer.Option(min=0, max=64, help="AI workers for basic and lite.")] = 1,
) -> None:
    """Start the platform, publish a lecture, and leave it running."""
    if file is not None and not file.is_file():
        _fail(f"파일이 없습니다: {file}", f"There is no such file: {file}")
    place = home.Home(data)
    if not place.running():
        _start(place, roles.Workers(workers, ai_workers))
    video = file or place.folder / "sample.mp4"
    if not video.exists():
        with out.status("Drawing a sample lecture …"):
            sample.make(video)
    try:
        published = _publish(place, video, video.stem, quiet=False)
    except client.Refused as refusal:
        _fail(refusal.ko, f"{refusal.en} ({refusal.code})")
    _print_published(published)
    out.print("\nThe platform keeps running: `make down` stops it, `academy status` shows it.")


@app.command(
    "ai",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def run_ai(context: typer.Context) -> None:
    """An AI kind on local files: `academy ai list`, `academy ai run KIND FIELD=FILE … --out FOLDER`."""
    command = [sys.executable, "-m", "academy_ai", *context.args]
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - our own module


def _start(place: home.Home, workers: roles.Workers) -> None:
    """Start the supervisor as a daemon and wait until all serves; exit with its reason when it does not."""
    place.identity()
    place.forget_state()
    with (place.logs / "supervisor.log").open("ab") as log:
        daemon = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "academy_local.supervisor", str(place.folder), str(workers.video), str(workers.ai)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=processes.inherited() | {environment.MARK: str(place.folder)},
            start_new_session=True,
            cwd=place.folder,
        )
    with out.status("Starting …") as line:

        def settled() -> bool:
            state = place.state()
            line.update(f"Starting {state.step if state else ''} …")
            return daemon.poll() is not None or (state is not None and state.phase == "up")

        done = _wait(settled, START_SECONDS)
    state = place.state()
    if not done or daemon.poll() is not None or state is None or state.phase != "up":
        daemon.terminate()
        why = state.step if state else processes.tail(place.logs / "supervisor.log")
        _fail("플랫폼을 시작하지 못했습니다.", f"The platform did not start: {why}\nLogs: {place.logs}")


def _publish(place: home.Home, file: Path, title: str, *, quiet: bool) -> client.Published:
    identity = place.identity()
    with (
        client.Client(environment.url(identity.addresses.api)) as api,
        progress.Progress(console=err, transient=True, disable=quiet) as bar,
    ):
        api.sign_in(home.DIRECTOR_EMAIL, identity.secrets.director)
        upload = bar.add_task("Uploading", total=file.stat().st_size)
        encode = bar.add_task("Encoding", total=100)

        def seen(step: client.Step) -> None:
            playable = f", {step.playable_seconds:.0f} s playable" if step.playable_seconds else ""
            bar.update(encode, completed=step.percent or 0, description=f"Encoding ({step.state}{playable})")

        return client.publish(api, file, title, uploaded=lambda size: bar.advance(upload, size), seen=seen)


def _print_published(published: client.Published) -> None:
    grid = table.Table.grid(padding=(0, 2))
    grid.add_row("Lecture", published.lecture)
    grid.add_row("Duration", f"{published.duration_seconds:.1f} s")
    grid.add_row("First playable segment", f"{published.seconds_to_first_playable:.1f} s after the upload")
    grid.add_row("Complete", f"{published.seconds_to_complete:.1f} s after the upload")
    grid.add_row("Renditions", ", ".join(published.rungs))
    out.print(grid)
    # On a line of its own and unwrapped, so that it can be copied.
    out.print("Playback URL:")
    out.print(published.playback_url, soft_wrap=True, highlight=False)


def _print_addresses(place: home.Home) -> None:
    identity = place.identity()
    grid = table.Table.grid(padding=(0, 2))
    grid.add_row("API", environment.url(identity.addresses.api))
    grid.add_row("API docs", f"{environment.url(identity.addresses.api)}/api/docs")
    grid.add_row("Director", home.DIRECTOR_EMAIL)
    grid.add_row("Password", f"in {place.folder / 'identity.json'}, `director`")
    out.print(grid)


def _running(data: Path) -> home.Home:
    place = home.Home(data)
    if not place.running():
        _fail(
            "플랫폼이 꺼져 있습니다. 먼저 `academy up`을 실행하세요.", "The platform is down. Run `academy up` first."
        )
    return place


def _wait(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _fail(ko: str, en: str) -> NoReturn:
    err.print(ko, markup=False)
    err.print(en, markup=False)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
