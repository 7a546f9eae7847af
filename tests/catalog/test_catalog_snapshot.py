"""The file that holds the price library: made once, whole or not at all, replaced when it is damaged."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from pointsman.catalog import PriceBook
from pointsman.catalog.snapshot import unpack
from pointsman.catalog.snapshot_file import library_version, load

READ = """
import sys
from pathlib import Path
from pointsman.catalog import PriceBook
price = PriceBook({}, cache=Path(sys.argv[1])).price("openai", "gpt-4o-mini")
print(price.input, bool({"genai_prices", "pydantic"} & sys.modules.keys()))
"""


def read_in_a_process(folder, **more):
    env = os.environ | more
    return subprocess.run([sys.executable, "-c", READ, str(folder)], capture_output=True, text=True, env=env)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    load(folder)
    return next(folder.iterdir()).read_bytes()


def test_the_first_process_makes_the_file_and_no_process_imports_the_library(tmp_path):
    """The server would bear the library's 20 MB, at least on its first start."""
    folder = tmp_path / "not" / "there" / "yet"
    for _ in range(2):
        assert read_in_a_process(folder).stdout == "150000000 False\n"
        assert [file.name for file in folder.iterdir()] == [f"prices-{library_version()}.msgpack"]


def test_the_file_is_named_after_the_librarys_version():
    """An upgraded library would go on being read from the old file."""
    import genai_prices

    assert library_version() == genai_prices.__version__


def test_a_file_cut_anywhere_or_with_any_byte_changed_is_seen_to_be_damaged(packed):
    """A half-written or bit-rotten file would give wrong prices, or crash the first bill."""
    assert unpack(packed) is not None
    places = [*range(64), *range(64, len(packed), 4_099)]
    for place in places:
        assert unpack(packed[:place]) is None
        assert unpack(packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :]) is None
    assert unpack(packed + b"\0") is None


@pytest.mark.parametrize("content", [b"", b"rubbish", b"pmprice1", b"pmprice1" + b"\0" * 100])
def test_a_damaged_file_is_replaced(tmp_path, packed, content):
    """A machine that lost power at the wrong moment would be without prices until somebody deletes a file."""
    file = tmp_path / f"prices-{library_version()}.msgpack"
    file.write_bytes(content)
    assert PriceBook({}, cache=tmp_path).price("openai", "gpt-4o-mini").input == 150_000_000
    assert file.read_bytes() == packed


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    """A read-only home would leave every price unknown."""
    blocked = tmp_path / "a-file-where-a-folder-should-be"
    blocked.write_text("")
    assert PriceBook({}, cache=blocked).price("openai", "gpt-4o-mini").input == 150_000_000
    assert list(tmp_path.iterdir()) == [blocked]


def test_a_folder_in_the_files_place_is_no_error_and_leaves_nothing_behind(tmp_path):
    """A stray folder of that name would leave every price unknown, and litter would gather."""
    (tmp_path / f"prices-{library_version()}.msgpack").mkdir()
    assert PriceBook({}, cache=tmp_path).price("openai", "gpt-4o-mini").input == 150_000_000
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_folder_the_library_is_asked_directly():
    """A library user who gives no folder would have no prices."""
    assert PriceBook({}).price("openai", "gpt-4o-mini").output == 600_000_000


def test_where_no_child_process_can_run_the_library_is_asked_directly(tmp_path):
    """In a frozen program or a tight sandbox every price would be unknown."""
    program = READ.replace("import sys\n", "import sys\nsys.executable = '/nonexistent/python'\n", 1)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "150000000 True\n"


def test_processes_that_make_the_file_at_once_do_not_spoil_it(tmp_path, packed):
    """`serve --workers 2` on a fresh machine would start with a mixed-up price file."""
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: read_in_a_process(tmp_path), range(3)))
    assert [each.stdout for each in done] == ["150000000 False\n"] * 3
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [packed]


def test_an_aggregators_compact_date_finds_the_dated_model():
    """A model whose date an aggregator writes without dashes would be unpriced."""
    book = PriceBook({})
    assert book.price("openai", "gpt-4o-20240513") == book.price("openai", "gpt-4o-2024-05-13") is not None
    assert book.price("openai", "gpt-4o-20249999") is None
