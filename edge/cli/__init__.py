"""The command line, with one module per subcommand; ``main`` dispatches to them."""
