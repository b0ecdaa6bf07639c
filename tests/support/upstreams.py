"""Packages in upstream's own form, to be imported: ANTsPyNet of each generation, ANTsPy, and their dependencies.

    <place>/antspynet-0.2.9/antspynet, antspynet-0.2.9.dist-info         a release
    <place>/beside/ants, antspyx-0.6.3.dist-info, tensorflow, requests   the dependencies of all releases

A release has few entries, with real numbers. Instead of downloading, a getter raises an error: `would download URL to
PATH`. Internal callers import the getters as upstream's do, and attributes of the package hide its modules of the same
name.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support import BRAIN, LUNG, TEMPLATE, TRANSFORM, cannot

PYTHON: str = getattr(sys, "_base_executable", sys.executable)  # without antscache, if there is one

# One release for each way of choosing the directory of its files (field notes, "Where it looks").
GENERATIONS = ("0.1.1", "0.1.9", "0.2.3", "0.2.8", "0.2.9", "0.3.2")
CHANGED = "DeepAtroposHcpT1Weights"  # 0.2.9 and 0.3.2 have different bytes under this name
UNFETCHABLE = "allen_sr_weights"  # accepted, with an empty URL
EXAMPLE = "r16"  # of antspyx

NETWORKS = {BRAIN: "34821874", LUNG: "41965818"}
CHANGES = {"0.2.9": {CHANGED: "49946070"}, "0.3.2": {CHANGED: "51906071"}}
EXAMPLES = {EXAMPLE: "28726512", "r27": "28726515", "mni": "28726500"}


@dataclass(frozen=True)
class Upstream:
    """A release of ANTsPyNet that can be imported.

    Attributes:
        directory: the parent of the package, like site-packages.
        beside: the parent of the packages that it imports.
    """

    version: str
    directory: Path
    beside: Path

    @property
    def path(self) -> str:
        """The value for PYTHONPATH."""
        return f"{self.directory}:{self.beside}"

    @property
    def number(self) -> tuple[int, ...]:
        return tuple(map(int, self.version.split(".")))

    @property
    def has_parameter(self) -> bool:
        """True if calls take the directory as an argument; else set_antsxnet_cache_directory() sets it."""
        return has_parameter(self.version)

    @property
    def networks(self) -> dict[str, str]:
        """The networks that can be fetched: name to Figshare number."""
        return NETWORKS | CHANGES.get(self.version, {})

    @property
    def data(self) -> dict[str, str]:
        """The data that can be fetched: name to Figshare number."""
        return {TEMPLATE: "22597175"} | ({TRANSFORM: "41052575"} if self.number >= (0, 2, 2) else {})

    @property
    def files(self) -> dict[str, str]:
        """All entries that can be fetched: name to file name."""
        images = {name: f"{name}.mat" if name == TRANSFORM else f"{name}.nii.gz" for name in self.data}
        return images | {name: f"{name}.h5" for name in self.networks}


def older(minor: int) -> str:
    """Return the path of a Python 3.`minor`; skip the test if there is none (`support.cannot`)."""
    candidates = [
        shutil.which(f"python3.{minor}"),
        *Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3.{minor}"),
    ]
    for candidate in filter(None, candidates):
        probe = [str(candidate), "-c", f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}))"]
        if subprocess.run(probe, check=False, capture_output=True).returncode == 0:
            return str(candidate)
    return cannot(f"no Python 3.{minor} on this machine")


def has_parameter(version: str) -> bool:
    return version < "0.2.9"


def make(place: Path, version: str, *, more: str = "") -> Upstream:
    """Make the release `version` in `place`; append `more` to the source of get_pretrained_network."""
    upstream = Upstream(version, place / f"antspynet-{version}", place / "beside")
    utilities = upstream.directory / "antspynet" / "utilities"
    write(utilities.parent / "__init__.py", "from .utilities import *\n")
    write(utilities / "__init__.py", _UTILITIES if upstream.has_parameter else _UTILITIES + _SETTING)
    write(utilities / "get_antsxnet_data.py", _data_getter(upstream))
    write(utilities / "get_pretrained_network.py", _network_getter(upstream) + more)
    write(utilities / "brain_extraction.py", _brain_extraction(upstream))
    write(utilities / "lung_extraction.py", _LUNG_EXTRACTION)
    write(utilities / "chexnet.py", _CHEXNET)
    write(utilities / "neural_style_transfer.py", _NEURAL_STYLE_TRANSFER)
    metadata(upstream.directory, "antspynet", version)
    _beside(upstream.beside)
    return upstream


def _beside(place: Path) -> None:
    write(place / "tensorflow/__init__.py", _TENSORFLOW)
    write(place / "requests/__init__.py", _REQUESTS)
    write(place / "ants/__init__.py", "from .utils import *\n")
    write(place / "ants/utils/__init__.py", "from .get_ants_data import get_ants_data, get_data\n")
    write(place / "ants/utils/get_ants_data.py", _ANTS.format(urls=_urls(EXAMPLES), valid=(*EXAMPLES, "show")))
    metadata(place, "antspyx", "0.6.3")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def metadata(directory: Path, package: str, version: str) -> None:
    text = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    write(directory / f"{package}-{version}.dist-info/METADATA", text)


def _urls(numbers: dict[str, str]) -> dict[str, str]:
    return {name: f"https://ndownloader.figshare.com/files/{number}" for name, number in numbers.items()}


def _data_getter(upstream: Upstream) -> str:
    naming = _NAMING_OF_0_2_2 if TRANSFORM in upstream.data else _NAMING.format(suffix=".nii.gz")
    own = "" if upstream.has_parameter else _DIRECTORY_OF_0_2_9
    getter = _getter(upstream, "get_antsxnet_data", _urls(upstream.data), naming)
    return f"import tensorflow as tf\nimport ants\nimport os.path\n{own}{getter}"


def _network_getter(upstream: Upstream) -> str:
    own = "" if upstream.has_parameter else _IMPORT_OF_0_2_9
    urls = _urls(upstream.networks) | {UNFETCHABLE: ""}
    getter = _getter(upstream, "get_pretrained_network", urls, _NAMING.format(suffix=".h5"))
    return f"import os.path\nimport tensorflow as tf\n{own}{getter}"


def _getter(upstream: Upstream, function: str, urls: dict[str, str], naming: str) -> str:
    return _GETTER.format(
        function=function,
        parameter=",\n    antsxnet_cache_directory=None" if upstream.has_parameter else "",
        urls=urls,
        valid=(*urls, "show"),
        naming=naming,
        looking=_looking(upstream.number),
    )


def _looking(number: tuple[int, ...]) -> str:
    """Return the statements of a getter that compute the path of its file."""
    if number < (0, 1, 9):
        return _OF_0_1_1
    if number < (0, 2, 3):
        return _OF_0_1_9
    refusal = _REFUSAL_OF_0_2_8 if number >= (0, 2, 8) else ""
    if number < (0, 2, 9):
        return _DEFAULT_OF_0_2_3 + _OF_0_2_3.format(directory="antsxnet_cache_directory", refusal=refusal)
    return _OF_0_2_3.format(directory="get_antsxnet_cache_directory()", refusal=refusal)


def _brain_extraction(upstream: Upstream) -> str:
    parameter, passed = "antsxnet_cache_directory=None", ", antsxnet_cache_directory=antsxnet_cache_directory"
    return _BRAIN_EXTRACTION.format(
        parameter=parameter if upstream.has_parameter else "",
        literal=_LITERAL_UNTIL_0_2_2 if upstream.number < (0, 2, 3) else "",
        passed=passed if upstream.has_parameter else "",
    )


_GETTER = '''
def {function}(file_id=None,
    target_file_name=None{parameter}):

    """
    Download what is permitted.

    Arguments
    ---------
    file_id string
        One of the permitted file ids or pass "show" to list all
        valid possibilities.
    """

    def switch_names(argument):
        switcher = {urls!r}
        return(switcher.get(argument, "Invalid argument."))

    if file_id == None:
        raise ValueError("Missing file id.")

    valid_list = {valid!r}

    if not file_id in valid_list:
        raise ValueError("No data with the id you passed - try \\"show\\" to get list of valid ids.")

    if file_id == "show":
       return(valid_list)

    url = switch_names(file_id)

    if target_file_name is None:
{naming}{looking}
    return(target_file_name_path)
'''

_NAMING = """        target_file_name = file_id + "{suffix}"
"""

_NAMING_OF_0_2_2 = f"""        if file_id == "{TRANSFORM}":
            target_file_name = file_id + ".mat"
        else:
            target_file_name = file_id + ".nii.gz"
"""

_OF_0_1_1 = """
    if antsxnet_cache_directory == None:
        antsxnet_cache_directory = "ANTsXNet"

    target_file_name_path = tf.keras.utils.get_file(target_file_name, url,
        cache_subdir = antsxnet_cache_directory)
"""

_OF_0_1_9 = """
    if antsxnet_cache_directory == None:
        antsxnet_cache_directory = "ANTsXNet"

    target_file_name_path = os.path.join(os.path.expanduser('~'), '.keras', antsxnet_cache_directory,
                                         target_file_name)

    if not os.path.exists(target_file_name_path):
        target_file_name_path = tf.keras.utils.get_file(target_file_name, url,
                                                        cache_subdir = antsxnet_cache_directory)
"""

_OF_0_2_3 = """
    target_file_name_path = os.path.join({directory}, target_file_name)

    if not os.path.exists(target_file_name_path):{refusal}
        target_file_name_path = tf.keras.utils.get_file(target_file_name, url,
                                                        cache_subdir={directory})
"""

_DEFAULT_OF_0_2_3 = """
    if antsxnet_cache_directory is None:
        antsxnet_cache_directory = os.path.join(os.path.expanduser('~'), ".keras/ANTsXNet")
"""

_REFUSAL_OF_0_2_8 = """
        if not url:
            err_msg = 'The requested file "' + file_id + '" is not available'
            raise NotImplementedError(err_msg)
"""

_IMPORT_OF_0_2_9 = "from antspynet.utilities.get_antsxnet_data import get_antsxnet_cache_directory\n"

_DIRECTORY_OF_0_2_9 = """
_antsxnet_cache_directory = os.path.join(os.path.expanduser('~'), '.keras', 'ANTsXNet')

def get_antsxnet_cache_directory():
    return(_antsxnet_cache_directory)


def set_antsxnet_cache_directory(antsxnet_cache_dir):
    global _antsxnet_cache_directory
    _antsxnet_cache_directory = os.path.abspath(antsxnet_cache_dir)

    if not os.path.exists(_antsxnet_cache_directory):
        os.makedirs(_antsxnet_cache_directory)

"""

_UTILITIES = """\
from .get_pretrained_network import get_pretrained_network
from .get_antsxnet_data import get_antsxnet_data

from .brain_extraction import brain_extraction
from .lung_extraction import lung_extraction
from .chexnet import chexnet
from .neural_style_transfer import neural_style_transfer
"""
_SETTING = "from .get_antsxnet_data import get_antsxnet_cache_directory, set_antsxnet_cache_directory\n"

_LITERAL_UNTIL_0_2_2 = """
    if antsxnet_cache_directory == None:
        antsxnet_cache_directory = "ANTsXNet"
"""

_BRAIN_EXTRACTION = f"""
def brain_extraction({{parameter}}):

    from ..utilities import get_antsxnet_data
    from ..utilities import get_pretrained_network
{{literal}}
    weights_file_name = get_pretrained_network("{BRAIN}"{{passed}})
    template_file_name = get_antsxnet_data("{TEMPLATE}"{{passed}})
    return(weights_file_name, template_file_name)
"""

_LUNG_EXTRACTION = f"""
from ..utilities import get_pretrained_network

def lung_extraction():
    return(get_pretrained_network("{LUNG}"))
"""

_CHEXNET = """
import tensorflow as tf

def chexnet(image=None, *, pooling="avg"):
    model = tf.keras.applications.DenseNet121(include_top=False,
                                            weights="imagenet",
                                            pooling=pooling)
    return(model)
"""

_NEURAL_STYLE_TRANSFER = """
from tensorflow.keras.applications import vgg19

def neural_style_transfer(content_image=None, style_images=None):
    model = vgg19.VGG19(weights="imagenet", include_top=False)
    return(model)
"""

# Of Keras' own, what matters: the directory is made, a file that is there is returned. A model is the path of its
# weights.
_TENSORFLOW = """
import os, sys
from types import ModuleType, SimpleNamespace

def get_file(fname=None, origin=None, cache_subdir="datasets", cache_dir=None):
    if cache_dir is None:
        cache_dir = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    directory = os.path.join(os.path.expanduser(cache_dir), cache_subdir)
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, fname)
    if os.path.exists(path):
        return(path)
    raise RuntimeError("would download " + repr(origin) + " to " + path)

def application(name):
    def make(include_top=True, weights="imagenet", pooling=None):
        if weights == "imagenet":
            fname = name + "_weights_tf_dim_ordering_tf_kernels" + ("" if include_top else "_notop") + ".h5"
            weights = get_file(fname, "https://keras.org/" + fname, cache_subdir="models")
        elif not os.path.exists(weights):
            raise ValueError("The `weights` argument should be the path to the weights file to be loaded.")
        return(weights)
    return(make)

vgg19 = ModuleType("tensorflow.keras.applications.vgg19")
vgg19.VGG19 = application("vgg19")
applications = ModuleType("tensorflow.keras.applications")
applications.vgg19, applications.DenseNet121 = vgg19, application("densenet121")
keras = ModuleType("tensorflow.keras")
keras.utils, keras.applications = SimpleNamespace(get_file=get_file), applications
sys.modules.update({module.__name__: module for module in (vgg19, applications, keras)})
"""

_REQUESTS = """
def get(url):
    raise RuntimeError("would download " + repr(url))
"""

_ANTS = '''
__all__ = ['get_ants_data',
           'get_data']

import os
import requests
import tempfile

def get_data(file_id=None, target_file_name=None, antsx_cache_directory=None):
    """
    Get ANTsPy test data file
    """

    def switch_data(argument):
        switcher = {urls!r}
        return(switcher.get(argument, "Invalid argument."))

    if antsx_cache_directory is None:
        antsx_cache_directory = os.path.expanduser('~/.antspy/')
    os.makedirs(antsx_cache_directory, exist_ok=True)

    valid_list = {valid!r}

    if file_id == "show" or file_id is None:
       return(valid_list)

    url = switch_data(file_id)

    if target_file_name == None:
        extension = ".jpg"
        if file_id == "ch2" or file_id == "mni" or file_id == "surf":
            extension = ".nii.gz"
        if extension == ".jpg":
            target_file_name = antsx_cache_directory + file_id + "slice" + extension
        else:
            target_file_name = antsx_cache_directory + file_id + extension

    target_file_name_path = target_file_name

    if not os.path.exists(target_file_name_path):
        r = requests.get(url)
        with open(target_file_name_path, 'wb') as f:
            f.write(r.content)

    return(target_file_name_path)

get_ants_data = get_data
'''
