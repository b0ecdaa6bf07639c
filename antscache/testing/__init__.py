"""A stand-in for Figshare: speak its protocol on a loopback port, count requests, and go wrong as origins do.

It answers for every identifier of the shipped manifests, with made-up valid files of the right types:

    from antscache.testing import Misbehaviour, StandIn

    with StandIn({"34821874": "brainExtractionRobustT1.h5"}, size=100_000) as standin:
        os.environ["ANTSCACHE_ORIGINS"] = standin.origins
        standin.misbehave("34821874", Misbehaviour.CUT, times=1)
        ...  # what you test
        assert standin.downloads("34821874") == 2

For other languages and for containers, run `python -m antscache.testing` (`docs/standin.md`). It needs nothing that
antscache does not need.

    __main__.py         the program
    standin.py          `StandIn`: start it, set misbehaviours, read counters
    misbehaviour.py     every way to go wrong by name, and the schedule of the next ones
    faults.py           the effect of each misbehaviour on an answer (pure)
    figshare.py         the protocol without sockets: routes, redirects, signed URLs
    storage.py          the files on disk, and the answers with their bytes
    contents.py         made-up HDF5, NIfTI, ITK transforms and JPEG (pure)
    ledger.py           every request with its answer, and the bytes sent
    messages.py         requests and answers as values
    connection.py       one client: read its requests, send the answers
    server.py           the port: a thread for each connection, and closing them all

Import from here, not from these files.
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
