"""The walk through HDF5 files: what is found, what is never opened, and that no file does harm to who asks."""

from __future__ import annotations

import base64
import json
import marshal
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antscache.formats import hdf5_hazards
from antscache.formats.forms import FormError, form_of
from antscache.formats.hdf5_subprocess import Hdf5Scanner, ScannerError, is_h5py_installed
from antscache.testing import content as stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Walk = Callable[[Path], tuple[str, ...]]

REPOSITORY = Path(__file__).parents[2]
unhurried = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def subprocess_walk() -> Iterator[Walk]:
    with closing(Hdf5Scanner()) as opened:
        yield opened.walk


@pytest.fixture(params=["in a subprocess", "here"])
def walk(request: pytest.FixtureRequest, subprocess_walk: Walk) -> Walk:
    """The walk as it is used, and where the tests can see into it."""
    return (
        subprocess_walk if request.param == "in a subprocess" else lambda path: tuple(hdf5_hazards.hazards(str(path)))
    )


@pytest.fixture(params=["earliest", "latest"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[h5py.File]:
    with h5py.File(tmp_path / "network.h5", "w", libver=request.param) as opened:
        yield opened


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A file that blocks whoever opens it."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def written(file: h5py.File) -> Path:
    path = Path(file.filename)
    file.close()
    return path


def network(file: h5py.File) -> None:
    """Weights as Keras's legacy HDF5 format has them."""
    file.attrs["layer_names"] = np.array([b"conv3d", b"activation"])
    file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
    weights = file.create_group("conv3d")
    weights.attrs["weight_names"] = np.array([b"conv3d/kernel:0"])
    weights["conv3d/kernel:0"] = np.zeros((3, 3, 3, 1, 8), "f4")
    file.create_group("activation").attrs["weight_names"] = np.array([], "S1")


def configured(path: Path, configuration: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = configuration
    return path


def walkers(parent: int) -> set[int]:
    """The processes that walk for the process `parent`."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    processes = (line.split(maxsplit=2) for line in listed.splitlines())
    return {int(pid) for pid, ppid, command in processes if int(ppid) == parent and "hdf5_hazards.py" in command}


def walked_by(walker: Hdf5Scanner, sound: Path) -> int:
    """The process that `walker` walks files in, once it has walked one."""
    before = walkers(os.getpid())
    assert walker.walk(sound) == ()
    (pid,) = walkers(os.getpid()) - before
    return pid


def processor_time(pid: int) -> float:
    """The seconds that a process has worked (proc(5): utime and stime, behind the name in brackets)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def eventually(happens: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "sound.h5", "w") as file:
        network(file)
    return tmp_path / "sound.h5"


@pytest.fixture
def laborious(tmp_path: Path) -> Path:
    """A file on which the walker works for a second or more, and for which it takes 300 MB."""
    lists = ",".join(["[" * 500 + "]" * 500] * 7_000)
    return configured(tmp_path / "laborious.h5", f"[{lists}]")


# What is found


def test_a_network_as_keras_writes_it_has_no_hazards(walk: Walk, file: h5py.File) -> None:
    network(file)
    file["type"] = np.dtype("f8")
    file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {"layers": []}})
    assert walk(written(file)) == ()


def test_a_stand_in_for_a_network_has_no_hazards(walk: Walk, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(stand_in("1", "a.h5", 5000))
    assert walk(path) == ()


@pytest.mark.parametrize("place", ["kernel", "a/kernel", "a/b/c/d/e/f/kernel"])
def test_an_external_link_is_found_at_any_depth(walk: Walk, file: h5py.File, place: str) -> None:
    network(file)
    file[place] = h5py.ExternalLink("/etc/passwd", "/x")
    assert walk(written(file)) == (f"an external link '/{place}' to '/etc/passwd'",)


def test_a_soft_link_is_not_followed(walk: Walk, file: h5py.File) -> None:
    file["nowhere"], file["itself"] = h5py.SoftLink("/not/there"), h5py.SoftLink("/itself")
    file["there"] = h5py.SoftLink("/group")
    file.create_group("group")
    assert walk(written(file)) == ()


def test_every_object_is_visited_once_whatever_circle_links_make(walk: Walk, file: h5py.File) -> None:
    inner = file.create_group("a/b")
    inner["root"], inner["again"] = file["/"], file["a"]
    inner["out"] = h5py.ExternalLink("other.h5", "/")
    file["b"] = inner
    assert len(walk(written(file))) == 1


def test_a_dataset_stored_in_another_file_is_found(walk: Walk, file: h5py.File) -> None:
    file.create_dataset("a/weights", (10,), "f8", external=[("/etc/passwd", 0, 80)])
    assert walk(written(file)) == ("a dataset '/a/weights' stored in '/etc/passwd'",)


def test_a_virtual_dataset_is_found(walk: Walk, tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((10,), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (10,))
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("weights", layout)
    assert walk(tmp_path / "a.h5") == ("a virtual dataset '/weights'",)


def test_names_out_of_the_file_are_escaped_and_short(walk: Walk, file: h5py.File) -> None:
    file["\x1b[2J\n\u202e"] = h5py.ExternalLink("e" * 5000, "/")
    file[b"\xff\xfe"] = h5py.ExternalLink(b"\xff", "/")
    second, first = walk(written(file))
    assert "'/\\x1b[2J\\n\\u202e' to 'eee" in first
    assert len(first) < 300
    assert second == "an external link '/\\udcff\\udcfe' to '\\udcff'"


def test_many_hazards_are_counted(subprocess_walk: Walk, file: h5py.File) -> None:
    for number in range(20):
        file[f"link{number}"] = h5py.ExternalLink("other.h5", "/")
    found = subprocess_walk(written(file))
    assert (len(found), found[-1]) == (6, "15 more")


@pytest.mark.parametrize("name", ["a/{}/b", "{}"])
def test_a_file_of_more_links_than_any_network_has_is_refused(
    file: h5py.File, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(hdf5_hazards, "LINKS", 10)
    for number in range(11):
        file[name.format(number)] = h5py.SoftLink("/")
    with pytest.raises(ValueError, match="more than 10 links"):
        list(hdf5_hazards.hazards(str(written(file))))


# Code in a network's configuration


CODE = base64.b64encode(marshal.dumps((lambda x: x).__code__)).decode()
KERAS_2 = {
    "class_name": "Lambda",
    "config": {"name": "scale", "function": [CODE, None, None], "function_type": "lambda", "module": "evil"},
}
KERAS_2_SHAPE = {
    "class_name": "Lambda",
    "config": {
        "name": "scale",
        "function": "relu",
        "function_type": "function",
        "output_shape": [CODE, None, None],
        "output_shape_type": "lambda",
    },
}
KERAS_3 = {
    "module": "keras.layers",
    "class_name": "Lambda",
    "config": {
        "name": "scale",
        "function": {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None, "closure": None}},
    },
}
NAMED = {"class_name": "Lambda", "config": {"name": "scale", "function": "relu", "function_type": "function"}}


def model(*layers: Any) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"name": "model", "layers": list(layers)}}


@pytest.mark.parametrize("layer", [KERAS_2, KERAS_2_SHAPE, KERAS_3])
@pytest.mark.parametrize("form", [str, str.encode, np.bytes_])
def test_bytecode_in_a_layer_is_found(walk: Walk, tmp_path: Path, layer: Any, form: Callable[[str], Any]) -> None:
    path = configured(tmp_path / "a.h5", form(json.dumps(model(layer))))
    assert walk(path) == ("Python bytecode in the layer 'scale' of its model_config",)


def test_bytecode_is_found_in_a_model_within_a_model(walk: Walk, tmp_path: Path) -> None:
    wrapped = {"class_name": "TimeDistributed", "config": {"name": "each", "layer": model(NAMED, model(KERAS_2))}}
    assert len(walk(configured(tmp_path / "a.h5", json.dumps(model(NAMED, wrapped))))) == 1


def test_a_function_that_is_only_named_is_no_hazard(walk: Walk, tmp_path: Path) -> None:
    assert walk(configured(tmp_path / "a.h5", json.dumps(model(NAMED)))) == ()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def planted(configuration: Any, layer: Any, data: st.DataObject) -> Any:
    """`configuration` with `layer` somewhere in it."""
    if isinstance(configuration, dict) and configuration and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(configuration)))
        return configuration | {key: planted(configuration[key], layer, data)}
    if isinstance(configuration, list) and configuration and data.draw(st.booleans()):
        return [planted(configuration[0], layer, data), *configuration[1:]]
    return [configuration, layer]


@unhurried
@given(anything, st.sampled_from([KERAS_2, KERAS_2_SHAPE, KERAS_3]), st.data())
def test_bytecode_is_found_anywhere(
    subprocess_walk: Walk, tmp_path: Path, configuration: Any, layer: Any, data: st.DataObject
) -> None:
    path = configured(tmp_path / "a.h5", json.dumps(planted(configuration, layer, data)))
    assert len(subprocess_walk(path)) == 1


@unhurried
@given(anything)
def test_no_other_configuration_is_a_hazard(subprocess_walk: Walk, tmp_path: Path, configuration: Any) -> None:
    assert subprocess_walk(configured(tmp_path / "a.h5", json.dumps(configuration))) == ()


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        (b"\xff\xfe{}", "a model_config that is no JSON"),
        ("", "a model_config that is no JSON"),
        ("[" * 100_000, "a model_config that is no JSON"),
        (np.array([b"{}", b"{}"]), "a model_config that is no text"),
        (3, "a model_config that is no text"),
        (h5py.Empty("S10"), "a model_config that is no text"),
        ("[" + "1," * (4 << 20) + "1]", "a model_config of more than 8388608 bytes"),
        (np.zeros(3_000_000), "a model_config of more than 8388608 bytes"),
    ],
)
def test_a_configuration_that_cannot_be_judged_is_a_hazard(
    walk: Walk, tmp_path: Path, configuration: Any, told: str
) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file.attrs["model_config"] = configuration
    assert walk(tmp_path / "a.h5") == (told,)


# What is never opened


def test_nothing_that_a_file_leads_to_is_opened(walk: Walk, tmp_path: Path, pipe: Path) -> None:
    unlimited = h5py.h5s.UNLIMITED
    layout = h5py.VirtualLayout((10,), "f8", maxshape=(None,))
    layout[0:unlimited] = h5py.VirtualSource(str(pipe), "x", (10,), maxshape=(None,))[0:unlimited]
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["link"] = h5py.ExternalLink(str(pipe), "/")
        file["soft"] = h5py.SoftLink("/link/x")
        file.create_dataset("stored", (10,), "f8", external=[(str(pipe), 0, h5py.h5f.UNLIMITED)])
        file.create_virtual_dataset("virtual", layout)
    assert len(walk(path)) == 3


def test_a_name_that_is_a_path_leads_nowhere(walk: Walk, tmp_path: Path, pipe: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file["out"] = h5py.ExternalLink(str(pipe), "/")
        file.create_group("out_inner")
    path.write_bytes(path.read_bytes().replace(b"out_inner", b"out/inner"))
    assert set(walk(path)) == {
        f"an external link '/out' to '{pipe}'",
        "a link with a path for its name, '/out/inner'",
    }


# Files that do harm


def test_what_is_no_hdf5_file_is_refused(subprocess_walk: Walk, tmp_path: Path, sound: Path) -> None:
    whole = sound.read_bytes()
    for bytes_ in b"", b"<html>", whole[:-1], whole[:1000], whole[:96] + bytes(len(whole)):
        path = tmp_path / "a.h5"
        path.write_bytes(bytes_)
        with pytest.raises(FormError, match="cannot be walked: 'Unable to"):
            subprocess_walk(path)
    with pytest.raises(FormError, match="No such file"):
        subprocess_walk(tmp_path / "nowhere")
    assert subprocess_walk(sound) == ()


@settings(unhurried, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8), st.booleans())
def test_a_damaged_file_is_walked_or_refused(
    subprocess_walk: Walk, tmp_path: Path, damages: list[tuple[int, int]], latest: bool
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest" if latest else "earliest") as file:
        network(file)
        file.attrs["model_config"] = json.dumps(model(NAMED))
    damaged = bytearray(path.read_bytes())
    for place, value in damages:
        damaged[place % len(damaged)] = value
    path.write_bytes(damaged)
    try:
        subprocess_walk(path)
    except FormError:
        return
    form = form_of("a.h5")  # what the library reads, the check of form never refuses
    form.feed(bytes(damaged))
    form.finish()


def test_a_file_that_takes_too_long_is_refused_and_the_next_is_walked(pipe: Path, sound: Path) -> None:
    with closing(Hdf5Scanner(seconds=0.5)) as walker:
        with pytest.raises(FormError, match=r"it takes more than 0\.5 s"):
            walker.walk(pipe)
        assert walker.walk(sound) == ()


def test_a_file_that_takes_too_much_memory_is_refused_and_the_next_is_walked(laborious: Path, sound: Path) -> None:
    with closing(Hdf5Scanner(memory=250_000_000)) as walker:
        with pytest.raises(FormError, match="it takes too much memory"):
            walker.walk(laborious)
        assert walker.walk(sound) == ()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGXCPU])
def test_a_file_on_which_the_walker_dies_is_refused_and_the_next_is_walked(
    laborious: Path, sound: Path, number: signal.Signals
) -> None:
    with closing(Hdf5Scanner()) as walker, ThreadPoolExecutor() as threads:
        pid = walked_by(walker, sound)
        idle = processor_time(pid)
        walking = threads.submit(walker.walk, laborious)
        eventually(lambda: processor_time(pid) > idle + 0.1)
        os.kill(pid, number)
        with pytest.raises(FormError, match=f"the walker died: {signal.strsignal(number)}"):
            walking.result()
        assert walker.walk(sound) == ()


def test_a_walker_killed_between_files_is_no_files_fault(sound: Path) -> None:
    with closing(Hdf5Scanner()) as walker:
        pid = walked_by(walker, sound)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert walker.walk(sound) == ()


def test_the_walker_is_held_short(sound: Path) -> None:
    with closing(Hdf5Scanner()) as walker:
        pid = walked_by(walker, sound)
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
        limits = {line[:25].strip(): line[25:].split()[0] for line in lines}
        assert limits["Max address space"] == str(2 << 30)
        assert limits["Max file size"] == limits["Max core file size"] == "0"
        assert int(limits["Max cpu time"]) <= 40
        assert int(limits["Max open files"]) <= 16
        assert os.getsid(pid) != os.getsid(0)
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"HDF5_PLUGIN_PRELOAD=::" in environment
        assert b"HOME" not in environment


# One walker for many files


def test_files_of_several_threads_are_not_mixed_up(tmp_path: Path, subprocess_walk: Walk) -> None:
    def found(number: int) -> tuple[str, ...]:
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file[f"link{number}"] = h5py.ExternalLink("other.h5", "/")
        return subprocess_walk(tmp_path / f"{number}.h5")

    with ThreadPoolExecutor(4) as threads:
        for number, hazards in enumerate(threads.map(found, range(40))):
            assert hazards == (f"an external link '/link{number}' to 'other.h5'",)


def test_two_hundred_files_cost_one_start(sound: Path) -> None:
    def seconds(files: int) -> float:
        started = time.perf_counter()
        with closing(Hdf5Scanner()) as walker:
            for _ in range(files):
                walker.walk(sound)
        return time.perf_counter() - started

    one = seconds(1)
    assert seconds(200) < 200 * one / 5


def test_a_closed_walker_leaves_no_process_and_walks_nothing(sound: Path) -> None:
    walker = Hdf5Scanner()
    pid = walked_by(walker, sound)
    walker.close()
    walker.close()
    assert pid not in walkers(os.getpid())
    with pytest.raises(FormError, match="it was broken off"):
        walker.walk(sound)
    assert pid not in walkers(os.getpid())


def test_closing_does_not_wait_for_a_walk(laborious: Path, sound: Path) -> None:
    walker = Hdf5Scanner()
    with ThreadPoolExecutor() as threads:
        pid = walked_by(walker, sound)
        idle = processor_time(pid)
        walking = threads.submit(walker.walk, laborious)
        eventually(lambda: processor_time(pid) > idle + 0.1)
        started = time.monotonic()
        walker.close()
        assert time.monotonic() - started < 5
        with pytest.raises(FormError, match="it was broken off"):
            walking.result()


def test_a_killed_parent_leaves_no_walker(sound: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from antscache.formats import Hdf5Scanner
walker = Hdf5Scanner()
print(walker.walk(Path({str(sound)!r})), flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "()\n"
        (pid,) = walkers(parent.pid)
        parent.kill()
    eventually(lambda: not Path(f"/proc/{pid}").exists())


# Without h5py


def python(program: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(REPOSITORY)!r})\n{program}"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environ,
    )
    return done.stdout.strip()


def test_h5py_is_looked_for_and_not_imported() -> None:
    assert is_h5py_installed()
    look, tell = "from antscache.formats import is_h5py_installed as it_is", "print(it_is(), 'h5py' in sys.modules)"
    assert python(f"{look}; {tell}") == "True False"
    assert python(f"{look}; sys.path = []; {tell}") == "False False"


@pytest.mark.parametrize(
    ("code", "told"), [("raise ImportError('no libhdf5')", "'no libhdf5'"), ("1 / 0", "the walker died: exit status 1")]
)
def test_an_h5py_that_does_not_work_is_no_files_fault(tmp_path: Path, sound: Path, code: str, told: str) -> None:
    (tmp_path / "h5py").mkdir()
    (tmp_path / "h5py/__init__.py").write_text(code)
    program = f"""
from pathlib import Path
from antscache.formats import Hdf5Scanner, ScannerError
try:
    Hdf5Scanner().walk(Path({str(sound)!r}))
except ScannerError as error:
    print(error)
"""
    said = python(program, PYTHONPATH=str(tmp_path))
    assert said == f"h5py cannot be used to look into HDF5 files: {told}"


def test_a_walker_that_cannot_be_started_is_no_files_fault(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with closing(Hdf5Scanner()) as walker, pytest.raises(ScannerError, match="No such file"):
        walker.walk(sound)
