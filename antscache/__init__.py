"""antscache: the data and networks that any release of ANTsPyNet asks for, verified and isolated per release."""

__version__ = "0.1.0"
