"""What does a person type?  One module per subcommand; ``main`` only finds them."""
