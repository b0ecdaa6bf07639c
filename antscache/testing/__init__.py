"""A stand-in for Figshare, for the tests of antscache and of whatever is built on it.

It speaks Figshare's protocol on a loopback port, makes up valid files of the right types for every identifier that
the shipped manifests name, counts what it is asked for, and goes wrong in the ways origins do:

    from antscache.testing import Misbehaviour, StandIn

    with StandIn({"34821874": "brainExtractionRobustT1.h5"}, size=100_000) as standin:
        os.environ["ANTSCACHE_ORIGINS"] = standin.origins
        standin.misbehave("34821874", Misbehaviour.CUT, times=1)
        ...  # what you test
        assert standin.downloads("34821874") == 2

As a program, for other languages and for containers (`docs/standin.md`):

    $ python -m antscache.testing --size 100000
    export ANTSCACHE_ORIGINS='http://127.0.0.1:41234/v2/file/download/{id} ...'

It needs nothing that antscache does not need.
"""

from antscache.testing.contents import content, hdf5_head, pieces
from antscache.testing.faults import ROUTE_MISBEHAVIOURS
from antscache.testing.ledger import Request
from antscache.testing.misbehaviour import Misbehaviour
from antscache.testing.standin import StandIn, catalog_files

__all__ = [
    "ROUTE_MISBEHAVIOURS",
    "Misbehaviour",
    "Request",
    "StandIn",
    "catalog_files",
    "content",
    "hdf5_head",
    "pieces",
]
