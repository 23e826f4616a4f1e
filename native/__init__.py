"""The compiled core of edge. Imported only through :mod:`edge.native`; see native/README.md for the contract."""
