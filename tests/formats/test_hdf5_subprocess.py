"""The scanner of HDF5 files: it finds hazards, opens no other file, and survives every file."""

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
from antscache.formats.hdf5_subprocess import ALLOWED_NAMES, Hdf5Scanner, ScannerError
from antscache.testing import content as stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Scan = Callable[[Path], tuple[str, ...]]

REPOSITORY = Path(__file__).parents[2]
ALLOWED = hdf5_hazards.Allowed(**{name: frozenset(names) for name, names in ALLOWED_NAMES.items()})
unhurried = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


def texts(findings: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(text for _, text in findings)


def findings_here(path: Path) -> list[tuple[str, str]]:
    return list(hdf5_hazards.hazards(str(path), ALLOWED))


@pytest.fixture(scope="module")
def subprocess_scan() -> Iterator[Scan]:
    with closing(Hdf5Scanner()) as opened:
        yield lambda path: texts(opened.scan(path))


@pytest.fixture(params=["in a subprocess", "here"])
def scan(request: pytest.FixtureRequest, subprocess_scan: Scan) -> Scan:
    """A scan in the subprocess, as it is used, and one in this process, which coverage sees."""
    return subprocess_scan if request.param == "in a subprocess" else lambda path: texts(findings_here(path))


@pytest.fixture(params=["earliest", "latest"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[h5py.File]:
    with h5py.File(tmp_path / "network.h5", "w", libver=request.param) as opened:
        yield opened


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe, which blocks a process that opens it."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def closed(file: h5py.File) -> Path:
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


def write_configuration(path: Path, configuration: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = configuration
    return path


def scanner_pids(parent: int) -> set[int]:
    """Return the scanners that are children of the process `parent`."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    processes = (line.split(maxsplit=2) for line in listed.splitlines())
    return {int(pid) for pid, ppid, command in processes if int(ppid) == parent and "hdf5_hazards.py" in command}


def pid_of(scanner: Hdf5Scanner, sound: Path) -> int:
    """Return the process of `scanner`, after a scan of `sound`."""
    before = scanner_pids(os.getpid())
    assert scanner.scan(sound) == ()
    (pid,) = scanner_pids(os.getpid()) - before
    return pid


def processor_time(pid: int) -> float:
    """Return the processor time of a process in seconds (proc(5): utime and stime, behind the name in brackets)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def eventually(happens: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def interrupt_scan(
    laborious: Path, sound: Path, interrupt: Callable[[Hdf5Scanner, int], object]
) -> tuple[Hdf5Scanner, BaseException]:
    """Interrupt a scan while its process works on it; return its scanner and its error.

    On a busy machine a scan may end before it is interrupted, and succeed: then try again.
    """
    for _ in range(10):
        scanner = Hdf5Scanner()
        with ThreadPoolExecutor() as threads:
            pid = pid_of(scanner, sound)
            begun = processor_time(pid) + 0.1
            scan = threads.submit(scanner.scan, laborious)
            while processor_time(pid) < begun and not scan.done():
                time.sleep(0.01)
            interrupt(scanner, pid)
        if error := scan.exception():
            return scanner, error
        scanner.close()
    pytest.fail("each scan succeeded, although its process was interrupted")


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "sound.h5", "w") as file:
        network(file)
    return tmp_path / "sound.h5"


@pytest.fixture
def laborious(tmp_path: Path) -> Path:
    """A file whose scan takes at least a second of processor time and 300 MB."""
    lists = ",".join(["[" * 500 + "]" * 500] * 7_000)
    return write_configuration(tmp_path / "laborious.h5", f"[{lists}]")


# What is found


def test_keras_networks_have_no_hazards(scan: Scan, file: h5py.File) -> None:
    network(file)
    file["type"] = np.dtype("f8")
    file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {"layers": []}})
    assert scan(closed(file)) == ()


def test_stand_in_networks_have_no_hazards(scan: Scan, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(stand_in("1", "a.h5", 5000))
    assert scan(path) == ()


@pytest.mark.parametrize("place", ["kernel", "a/kernel", "a/b/c/d/e/f/kernel"])
def test_an_external_link_is_found_at_any_depth(scan: Scan, file: h5py.File, place: str) -> None:
    network(file)
    file[place] = h5py.ExternalLink("/etc/passwd", "/x")
    assert scan(closed(file)) == (f"an external link '/{place}' to '/etc/passwd'",)


def test_soft_links_are_not_followed(scan: Scan, file: h5py.File) -> None:
    file["nowhere"], file["itself"] = h5py.SoftLink("/not/there"), h5py.SoftLink("/itself")
    file["there"] = h5py.SoftLink("/group")
    file.create_group("group")
    assert scan(closed(file)) == ()


def test_circles_of_links_are_scanned_once(scan: Scan, file: h5py.File) -> None:
    inner = file.create_group("a/b")
    inner["root"], inner["again"] = file["/"], file["a"]
    inner["out"] = h5py.ExternalLink("other.h5", "/")
    file["b"] = inner
    assert len(scan(closed(file))) == 1


def test_a_dataset_stored_in_another_file_is_found(scan: Scan, file: h5py.File) -> None:
    file.create_dataset("a/weights", (10,), "f8", external=[("/etc/passwd", 0, 80)])
    assert scan(closed(file)) == ("a dataset '/a/weights' stored in '/etc/passwd'",)


def test_a_virtual_dataset_is_found(scan: Scan, tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((10,), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (10,))
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("weights", layout)
    assert scan(tmp_path / "a.h5") == ("a virtual dataset '/weights'",)


def test_names_from_the_file_are_quoted(scan: Scan, file: h5py.File) -> None:
    """Names from the file are escaped and shortened."""
    file["\x1b[2J\n\u202e"] = h5py.ExternalLink("e" * 5000, "/")
    file[b"\xff\xfe"] = h5py.ExternalLink(b"\xff", "/")
    second, first = scan(closed(file))
    assert "'/\\x1b[2J\\n\\u202e' to 'eee" in first
    assert len(first) < 300
    assert second == "an external link '/\\udcff\\udcfe' to '\\udcff'"


def test_many_hazards_are_counted(subprocess_scan: Scan, file: h5py.File) -> None:
    for number in range(20):
        file[f"link{number}"] = h5py.ExternalLink("other.h5", "/")
    hazards = subprocess_scan(closed(file))
    assert (len(hazards), hazards[-1]) == (6, "15 more")


def test_no_kind_of_finding_hides_another(file: h5py.File) -> None:
    layers = [KERAS_2 | {"name": f"layer{number}"} for number in range(20)]
    file.attrs["model_config"] = json.dumps(model(*layers))
    file["out"] = h5py.ExternalLink("other.h5", "/")
    with closing(Hdf5Scanner()) as scanner:
        kinds = [finding.kind for finding in scanner.scan(closed(file))]
    assert kinds == ["code"] * 5 + ["leads out", "code"]


@pytest.mark.parametrize("name", ["a/{}/b", "{}"])
def test_too_many_links_are_refused(file: h5py.File, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(hdf5_hazards, "MAX_LINKS", 10)
    for number in range(11):
        file[name.format(number)] = h5py.SoftLink("/")
    with pytest.raises(ValueError, match="more than 10 links"):
        findings_here(closed(file))


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
POLICY = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
NAMED = {"class_name": "Lambda", "config": {"name": "scale", "function": "relu", "function_type": "function"}}


PLAIN = {"class_name": "Dense", "config": {"name": "plain"}}


def model(*layers: Any) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"name": "model", "layers": list(layers)}}


@pytest.mark.parametrize("layer", [KERAS_2, KERAS_2_SHAPE, KERAS_3])
@pytest.mark.parametrize("form", [str, str.encode, np.bytes_])
def test_bytecode_in_a_layer_is_found(scan: Scan, tmp_path: Path, layer: Any, form: Callable[[str], Any]) -> None:
    path = write_configuration(tmp_path / "a.h5", form(json.dumps(model(layer))))
    assert scan(path) == ("Python bytecode in the layer 'scale' of its model_config",)


def test_bytecode_in_a_nested_model_is_found(scan: Scan, tmp_path: Path) -> None:
    wrapped = {"class_name": "TimeDistributed", "config": {"name": "each", "layer": model(PLAIN, model(KERAS_2))}}
    assert len(scan(write_configuration(tmp_path / "a.h5", json.dumps(model(PLAIN, wrapped))))) == 1


def place(part: str = "scale") -> str:
    return f"in the layer '{part}' of its model_config"


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        (NAMED, f"the function 'relu' {place()}"),
        # CVE-2025-1550: a Lambda that names any function of any module, with its arguments.
        (
            {
                "class_name": "Lambda",
                "config": {
                    "name": "scale",
                    "function": {"class_name": "function", "module": "builtins", "config": "exec"},
                    "arguments": {"source": "import os"},
                },
            },
            f"the function 'exec' of 'builtins' {place()}",
        ),
        (
            {
                "class_name": "Lambda",
                "config": {"name": "scale", "function": "system", "function_type": "function", "module": "os"},
            },
            f"the function 'system' of 'os' {place()}",
        ),
        (
            {"class_name": "function", "module": "os", "config": "system", "name": "scale"},
            f"the function 'system' of 'os' {place()}",
        ),
        ({"class_name": "Popen", "module": "subprocess", "config": {"name": "scale"}}, "the class 'Popen' of 'subproc"),
        ({"class_name": "Dense", "module": "evil", "config": {"name": "scale"}}, "the class 'Dense' of 'evil' in"),
        ({"class_name": "Dense", "registered_name": "evil>Dense", "config": {"name": "scale"}}, "the class 'Dense' in"),
        ({"class_name": "Dense", "module": "kerasevil", "config": {}, "name": "scale"}, "the class 'Dense' of 'kera"),
        ({"class_name": "TorchModuleWrapper", "module": "keras.layers", "config": {}}, "the class 'TorchModuleWrapper"),
        ({"class_name": "TFSMLayer", "module": "keras.layers", "config": {}}, "the class 'TFSMLayer' of 'keras.layers"),
        ({"class_name": "JaxLayer", "config": {}}, "the class 'JaxLayer' in"),
        ({"class_name": "get_file", "module": "keras.utils", "config": {}}, "the class 'get_file' of 'keras.utils' in"),
        (
            {"class_name": "StringLookup", "config": {"name": "scale", "vocabulary": "/etc/passwd"}},
            f"the file name '/etc/passwd' {place()}",
        ),
        (
            {"class_name": "TFOpLambda", "config": {"name": "scale", "function": "io.read_file"}},
            f"the TensorFlow function 'io.read_file' {place()}",
        ),
        (
            {"class_name": "InstanceNormalization", "module": "evil", "config": {}},
            "the class 'InstanceNormalization' o",
        ),
    ],
)
def test_names_off_the_list_are_found(scan: Scan, tmp_path: Path, layer: Any, found: str) -> None:
    (text,) = scan(write_configuration(tmp_path / "a.h5", json.dumps(model(layer))))
    assert text.startswith(found)


@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "Conv3D", "config": {"kernel_initializer": {"class_name": "GlorotUniform", "config": {}}}},
        {"class_name": "Conv3D", "module": "keras.layers", "registered_name": None, "config": {"dtype": POLICY}},
        {"class_name": "Functional", "module": "keras.src.models.functional", "registered_name": "Functional"},
        {"class_name": "BatchNormalizationV1", "module": "tf_keras.layers", "config": {}},
        {"class_name": "GetItem", "module": "keras.src.ops.numpy", "config": {}, "registered_name": "GetItem"},
        {"class_name": "StringLookup", "config": {"vocabulary": ["a", "b"]}},
        {"class_name": "TFOpLambda", "config": {"function": "math.multiply"}},
        {"class_name": "TFOpLambda", "config": {"function": "compat.v1.shape"}},
        {"class_name": "function", "module": "keras.activations", "config": "relu"},
        {"class_name": "function", "module": "builtins", "config": "mse", "registered_name": "function"},
        {"class_name": "InstanceNormalization", "config": {}},
        {"class_name": "AttentionLayer2D", "module": "antspynet.utilities.attention_utilities", "config": {}},
        {"class_name": "Custom>ResampleTensorLayer3D", "config": {}},
    ],
)
def test_names_on_the_list_are_no_findings(scan: Scan, tmp_path: Path, layer: Any) -> None:
    assert scan(write_configuration(tmp_path / "a.h5", json.dumps(model(layer)))) == ()


def test_code_in_training_config_is_found(scan: Scan, tmp_path: Path) -> None:
    training = {"optimizer_config": {"class_name": "Adam", "config": {}}, "loss": KERAS_3, "metrics": ["mse"]}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["training_config"] = json.dumps(training)
    assert scan(tmp_path / "a.h5") == ("Python bytecode in the layer 'scale' of its training_config",)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def insert(configuration: Any, layer: Any, data: st.DataObject) -> Any:
    """Return `configuration` with `layer` somewhere in it."""
    if isinstance(configuration, dict) and configuration and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(configuration)))
        return configuration | {key: insert(configuration[key], layer, data)}
    if isinstance(configuration, list) and configuration and data.draw(st.booleans()):
        return [insert(configuration[0], layer, data), *configuration[1:]]
    return [configuration, layer]


@unhurried
@given(anything, st.sampled_from([KERAS_2, KERAS_2_SHAPE, KERAS_3]), st.data())
def test_bytecode_is_found_anywhere(
    subprocess_scan: Scan, tmp_path: Path, configuration: Any, layer: Any, data: st.DataObject
) -> None:
    path = write_configuration(tmp_path / "a.h5", json.dumps(insert(configuration, layer, data)))
    assert len(subprocess_scan(path)) == 1


@unhurried
@given(anything)
def test_no_other_configuration_is_a_hazard(subprocess_scan: Scan, tmp_path: Path, configuration: Any) -> None:
    assert subprocess_scan(write_configuration(tmp_path / "a.h5", json.dumps(configuration))) == ()


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (b"\xff\xfe{}", "a model_config that is not JSON"),
        ("", "a model_config that is not JSON"),
        ("[" * 100_000, "a model_config that is not JSON"),
        (np.array([b"{}", b"{}"]), "a model_config that is not text"),
        (3, "a model_config that is not text"),
        (h5py.Empty("S10"), "a model_config that is not text"),
        ("[" + "1," * (4 << 20) + "1]", "a model_config of more than 8388608 bytes"),
        (np.zeros(3_000_000), "a model_config of more than 8388608 bytes"),
    ],
)
def test_an_unreadable_configuration_is_a_hazard(scan: Scan, tmp_path: Path, configuration: Any, message: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file.attrs["model_config"] = configuration
    assert scan(tmp_path / "a.h5") == (message,)


# What is never opened


def test_other_files_are_never_opened(scan: Scan, tmp_path: Path, pipe: Path) -> None:
    """The other files are pipes here: opening one would block the scan."""
    unlimited = h5py.h5s.UNLIMITED
    layout = h5py.VirtualLayout((10,), "f8", maxshape=(None,))
    layout[0:unlimited] = h5py.VirtualSource(str(pipe), "x", (10,), maxshape=(None,))[0:unlimited]
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["link"] = h5py.ExternalLink(str(pipe), "/")
        file["soft"] = h5py.SoftLink("/link/x")
        file.create_dataset("stored", (10,), "f8", external=[(str(pipe), 0, h5py.h5f.UNLIMITED)])
        file.create_virtual_dataset("virtual", layout)
    assert len(scan(path)) == 3


def test_a_name_that_is_a_path_leads_nowhere(scan: Scan, tmp_path: Path, pipe: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file["out"] = h5py.ExternalLink(str(pipe), "/")
        file.create_group("out_inner")
    path.write_bytes(path.read_bytes().replace(b"out_inner", b"out/inner"))
    assert set(scan(path)) == {
        f"an external link '/out' to '{pipe}'",
        "a link whose name is a path, '/out/inner'",
    }


# Files that do harm


def test_other_files_than_hdf5_are_refused(subprocess_scan: Scan, tmp_path: Path, sound: Path) -> None:
    whole = sound.read_bytes()
    for bytes_ in b"", b"<html>", whole[:-1], whole[:1000], whole[:96] + bytes(len(whole)):
        path = tmp_path / "a.h5"
        path.write_bytes(bytes_)
        with pytest.raises(FormError, match="cannot be scanned: 'Unable to"):
            subprocess_scan(path)
    with pytest.raises(FormError, match="No such file"):
        subprocess_scan(tmp_path / "nowhere")
    assert subprocess_scan(sound) == ()


@settings(unhurried, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8), st.booleans())
def test_a_damaged_file_is_scanned_or_refused(
    subprocess_scan: Scan, tmp_path: Path, damages: list[tuple[int, int]], latest: bool
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest" if latest else "earliest") as file:
        network(file)
        file.attrs["model_config"] = json.dumps(model(PLAIN))
    damaged = bytearray(path.read_bytes())
    for place, value in damages:
        damaged[place % len(damaged)] = value
    path.write_bytes(damaged)
    try:
        subprocess_scan(path)
    except FormError:
        return
    form = form_of("a.h5")  # what the library reads, the check of form never refuses
    form.feed(bytes(damaged))
    form.finish()


def test_a_scan_that_takes_too_long_ends(pipe: Path, sound: Path) -> None:
    """A file whose scan takes too long is refused, and the next one is scanned."""
    with closing(Hdf5Scanner(seconds=0.5)) as scanner:
        with pytest.raises(FormError, match=r"the scan takes more than 0\.5 s"):
            scanner.scan(pipe)
        scanner._seconds = 60.0  # noqa: SLF001  a busy machine may need more than half a second for a sound file
        assert scanner.scan(sound) == ()


def test_a_scan_that_needs_much_memory_ends(laborious: Path, sound: Path) -> None:
    """A file whose scan needs too much memory is refused, and the next one is scanned."""
    with closing(Hdf5Scanner(memory=250_000_000)) as scanner:
        with pytest.raises(FormError, match="the scan takes too much memory"):
            scanner.scan(laborious)
        assert scanner.scan(sound) == ()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGXCPU])
def test_a_file_that_kills_the_scanner_is_refused(laborious: Path, sound: Path, number: signal.Signals) -> None:
    """A file on which the scanner dies is refused, and the next one is scanned."""
    scanner, error = interrupt_scan(laborious, sound, lambda _, pid: os.kill(pid, number))
    with closing(scanner):
        assert isinstance(error, FormError)
        assert f"the scanner died: {signal.strsignal(number)}" in str(error)
        assert scanner.scan(sound) == ()


def test_a_scanner_killed_between_files_is_replaced(sound: Path) -> None:
    """A scanner that was killed between two files refuses neither."""
    with closing(Hdf5Scanner()) as scanner:
        pid = pid_of(scanner, sound)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert scanner.scan(sound) == ()


def test_the_scanner_has_limits(sound: Path) -> None:
    with closing(Hdf5Scanner()) as scanner:
        pid = pid_of(scanner, sound)
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


# One scanner for many files


def test_files_of_several_threads_are_not_mixed_up(tmp_path: Path, subprocess_scan: Scan) -> None:
    def scan_file(number: int) -> tuple[str, ...]:
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file[f"link{number}"] = h5py.ExternalLink("other.h5", "/")
        return subprocess_scan(tmp_path / f"{number}.h5")

    with ThreadPoolExecutor(4) as threads:
        for number, hazards in enumerate(threads.map(scan_file, range(40))):
            assert hazards == (f"an external link '/link{number}' to 'other.h5'",)


def test_one_process_scans_all_files(sound: Path) -> None:
    with closing(Hdf5Scanner()) as scanner:
        pid_of(scanner, sound)
        processes = scanner_pids(os.getpid())
        for _ in range(200):
            scanner.scan(sound)
        assert scanner_pids(os.getpid()) == processes


def test_a_closed_scanner_leaves_no_process(sound: Path) -> None:
    """A closed scanner has ended its process and scans nothing more."""
    scanner = Hdf5Scanner()
    pid = pid_of(scanner, sound)
    others = scanner_pids(os.getpid()) - {pid}
    scanner.close()
    scanner.close()
    eventually(lambda: scanner_pids(os.getpid()) == others)
    with pytest.raises(FormError, match="the scan was interrupted"):
        scanner.scan(sound)
    assert scanner_pids(os.getpid()) == others


def test_closing_does_not_wait_for_a_scan(laborious: Path, sound: Path) -> None:
    """If closing waited, the scan would end without an error."""
    _, error = interrupt_scan(laborious, sound, lambda scanner, _: scanner.close())
    assert isinstance(error, FormError)
    assert "the scan was interrupted" in str(error)


def test_a_killed_parent_leaves_no_scanner(sound: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from antscache.formats import Hdf5Scanner
scanner = Hdf5Scanner()
print(scanner.scan(Path({str(sound)!r})), flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "()\n"
        (pid,) = scanner_pids(parent.pid)
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


def test_scans_import_no_h5py_here(sound: Path) -> None:
    """h5py is imported in the subprocess alone."""
    program = f"""
import sys
from pathlib import Path
from antscache.formats import Hdf5Scanner
print(Hdf5Scanner().scan(Path({str(sound)!r})), 'h5py' in sys.modules)
"""
    assert python(program) == "() False"


@pytest.mark.parametrize(
    ("code", "message"),
    [("raise ImportError('no libhdf5')", "'no libhdf5'"), ("1 / 0", "the scanner died: exit status 1")],
)
def test_a_broken_h5py_is_a_scanner_error(tmp_path: Path, sound: Path, code: str, message: str) -> None:
    """If h5py does not work, no file is refused for that."""
    (tmp_path / "h5py").mkdir()
    (tmp_path / "h5py/__init__.py").write_text(code)
    program = f"""
from pathlib import Path
from antscache.formats import Hdf5Scanner, ScannerError
try:
    Hdf5Scanner().scan(Path({str(sound)!r}))
except ScannerError as error:
    print(error)
"""
    output = python(program, PYTHONPATH=str(tmp_path))
    assert output == f"h5py cannot be used to scan HDF5 files: {message}"


def test_a_failed_start_is_a_scanner_error(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no scanner can be started, no file is refused for that."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with closing(Hdf5Scanner()) as scanner, pytest.raises(ScannerError, match="No such file"):
        scanner.scan(sound)


@pytest.mark.parametrize(
    ("attribute", "version"),
    [("3.15.1", "3.15.1"), (b"2.4.0", "2.4.0"), (None, ""), ("x" * 200, ""), ("a\x1b[0m", ""), (7, "")],
)
def test_the_keras_of_a_network_is_told(tmp_path: Path, attribute: Any, version: str) -> None:
    """As the file says it, if that is a version; another word is not repeated."""
    with h5py.File(tmp_path / "network.h5", "w") as network:
        if attribute is not None:
            network.attrs["keras_version"] = attribute
    with closing(Hdf5Scanner()) as scanner:
        assert scanner.keras_version(tmp_path / "network.h5") == version
