"""``edge completion SHELL``: prints completions for bash, zsh or fish; ``edge completion man`` prints the manual page.

Both are made from the parser of the command line, so that they name what this version has.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMS: Final = ("bash", "zsh", "fish", "man")

# Options whose value is the name of a file.
_FILES: Final = frozenset({"FILE", "FOLDER"})


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge completion`` to the parser."""
    parser = subparsers.add_parser("completion", help="print shell completions, or the manual page")
    parser.add_argument("form", choices=FORMS, metavar="FORM", help="bash, zsh, fish or man")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the text; return 0."""
    from edge.cli.main import parser  # noqa: PLC0415  # main imports this module

    make = {"bash": bash, "zsh": zsh, "fish": fish, "man": man}[args.form]
    print(make(parser()), end="")
    return 0


def commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[Command]:
    """Yield every command at or below a parser, the outer one first."""
    inner = {}
    for action in parser._actions:  # noqa: SLF001  # argparse has no public way to list what a parser has
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # as above
            inner = dict(action.choices)
    yield Command(words, parser, tuple(inner))
    for name, below in inner.items():
        yield from commands(below, (*words, name))


class Command:
    """A command: its words, the words that may follow, and its options.

    Args:
        words: such as ``("target", "drain")``; empty: edge itself.
        parser: its parser.
        inner: the commands below it.
    """

    def __init__(self, words: tuple[str, ...], parser: argparse.ArgumentParser, inner: tuple[str, ...]) -> None:
        self.words = words
        self.inner = inner
        self.parser = parser
        actions = [
            action
            for action in parser._actions  # noqa: SLF001  # as above
            if not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001  # as above
        ]
        self.options = [action for action in actions if action.option_strings]
        self.operands = [action for action in actions if not action.option_strings]

    @property
    def next_words(self) -> list[str]:
        """What may be written after the command: commands below it, choices of its operands, and options."""
        choices = [str(choice) for operand in self.operands for choice in operand.choices or ()]
        return [*self.inner, *choices, *(name for option in self.options for name in option.option_strings)]

    @property
    def takes_file(self) -> bool:
        """Whether an operand is the name of a file."""
        return any(operand.dest in ("file", "config") for operand in self.operands)


def bash(parser: argparse.ArgumentParser) -> str:
    """Return completions for bash."""
    cases, files = [], set()
    known = [f'"{" ".join(command.words)}"' for command in commands(parser) if command.words]
    for command in commands(parser):
        following = " ".join(command.next_words)
        default = "compopt -o default; " if command.takes_file else ""
        cases.append(f'    "{" ".join(command.words)}") {default}words="{following}" ;;')
        files |= {name for option in command.options if option.metavar in _FILES for name in option.option_strings}
    return f"""# Completions of edge for bash: source <(edge completion bash)
_edge() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" command="" words="" word next
  case "${{COMP_WORDS[COMP_CWORD-1]}}" in
    {"|".join(sorted(files))}) compopt -o default; COMPREPLY=(); return ;;
  esac
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    [[ $word == -* ]] && continue
    next="${{command:+$command }}$word"
    case "$next" in
      {"|".join(sorted(known))}) command="$next" ;;
    esac
  done
  case "$command" in
{chr(10).join(cases)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -F _edge edge
"""


def zsh(parser: argparse.ArgumentParser) -> str:
    """Return completions for zsh, which runs those of bash."""
    return f"""#compdef edge
# Completions of edge for zsh: source <(edge completion zsh)
autoload -U +X bashcompinit && bashcompinit
{bash(parser)}"""


def fish(parser: argparse.ArgumentParser) -> str:
    """Return completions for fish."""
    lines = ["# Completions of edge for fish: edge completion fish | source"]
    for command in commands(parser):
        seen = " ".join(f"__fish_seen_subcommand_from {word};and" for word in command.words).removesuffix(";and")
        condition = seen or "__fish_use_subcommand"
        known = {action.dest: action.help for action in _choices(command.parser)}
        lines += [
            f"complete -c edge -f -n '{condition}' -a {name} -d {_quoted(known.get(name))}" for name in command.inner
        ]
        for option in command.options:
            names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.option_strings]
            value = " -r" + ("" if option.metavar in _FILES else " -f") if option.nargs != 0 else ""
            lines.append(f"complete -c edge -n '{condition}' {' '.join(names)}{value} -d {_quoted(option.help)}")
    return "\n".join(lines) + "\n"


def man(parser: argparse.ArgumentParser) -> str:
    """Return the manual page, edge(1), for troff."""
    from edge.version import VERSION  # noqa: PLC0415

    lines = [
        f'.TH EDGE 1 "" "edge {VERSION}" "User Commands"',
        ".SH NAME",
        "edge \\- a load\\-balancing edge for AI providers and internal services",
        ".SH SYNOPSIS",
        ".B edge",
        "COMMAND [OPTIONS]",
        ".SH DESCRIPTION",
        _troff(parser.description or ""),
        ".SH COMMANDS",
    ]
    about: dict[tuple[str, ...], str | None] = {}
    for command in commands(parser):
        about |= {(*command.words, action.dest): action.help for action in _choices(command.parser)}
        if command.inner and command.words:
            continue
        operands = " ".join(str(operand.metavar or operand.dest) for operand in command.operands)
        lines += [
            ".SS " + _troff(f"edge {' '.join(command.words)} {operands}".strip()),
            _troff(about.get(command.words) or ""),
        ]
        for entry in (*command.operands, *command.options):
            names = ", ".join(entry.option_strings) or str(entry.metavar or entry.dest)
            value = f" {entry.metavar or entry.dest.upper()}" if entry.option_strings and entry.nargs != 0 else ""
            lines += [".TP", ".B " + _troff(names + value), _troff(entry.help or "")]
    lines += [
        ".SH EXIT STATUS",
        "0: done; 1: refused or failed; 2: the command line cannot be read; 128 and a signal's number: ended by it.",
        ".SH FILES",
        ".TP",
        ".B edge.yaml",
        "The configuration; edge config schema describes it.",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _choices(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the commands below a parser with their help."""
    return [
        choice
        for action in parser._actions  # noqa: SLF001  # as above
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001  # as above
        for choice in action._choices_actions  # noqa: SLF001  # as above
    ]


def _quoted(text: str | None) -> str:
    return "'" + (text or "").replace("%%", "%").replace("\\", "\\\\").replace("'", "\\'") + "'"


def _troff(text: str) -> str:
    escaped = text.replace("%%", "%").replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped
