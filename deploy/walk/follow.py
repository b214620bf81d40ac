#!/usr/bin/env python3
"""Follows a page as a stranger would: types each command of a section as it is written and compares what is printed.

    follow.py PAGE SECTION

Blocks marked `console` count. A line with `$ ` is a command, one with `> ` goes on with it; the lines behind it are what it prints: `…` stands for
anything within a line, a line that is only `…` for any lines. Where nothing is said to be printed, the command has to succeed; else what is printed decides.
"""

import re
import subprocess
import sys

LIMIT_SECONDS = 180


def commands(page: str, section: str):
    """Gives number of the line, command, and lines that are to be printed."""
    inside = is_console = False
    found = []
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("## "):
            inside = line[3:].strip() == section
        elif line.startswith("```"):
            is_console = inside and line.strip() == "```console"
        elif is_console and line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif is_console and line.startswith("> ") and not found[-1][2]:
            found[-1][1].append(line[2:])
        elif is_console:
            found[-1][2].append(line)
    return [(number, "\n".join(command), wanted) for number, command, wanted in found]


def fits(wanted: list[str], printed: list[str]) -> bool:
    if not wanted:
        return not printed
    first, rest = wanted[0], wanted[1:]
    if first == "…":
        return any(fits(rest, printed[skipped:]) for skipped in range(len(printed) + 1))
    pattern = ".*".join(re.escape(part) for part in first.rstrip().split("…"))
    return bool(printed) and re.fullmatch(pattern, printed[0].rstrip()) is not None and fits(rest, printed[1:])


class Shell:
    """One shell for all of it, as a stranger has."""

    END = "=== done "

    def __init__(self):
        self.bash = subprocess.Popen(
            ["timeout", "600", "bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )

    def type(self, command: str) -> tuple[list[str], int]:
        # Standard input is closed for the command: it must not read what is typed after it.
        self.bash.stdin.write(f"{{ {command}\n}} < /dev/null; printf '\\n{self.END}%s\\n' $?\n")
        self.bash.stdin.flush()
        printed = []
        for line in self.bash.stdout:
            if line.startswith(self.END):
                # The empty line is ours where the output ended with one.
                return ("\n".join(printed).removesuffix("\n").splitlines(), int(line[len(self.END) :]))
            printed.append(line.rstrip("\n"))
        sys.exit("the shell ended")


def main() -> None:
    path, section = sys.argv[1:]
    with open(path, encoding="utf-8") as page:
        steps = commands(page.read(), section)
    if not steps:
        sys.exit(f"{path} has no commands under `{section}`")
    shell = Shell()
    for number, command, wanted in steps:
        print(f"{path}:{number}: $ {command}", flush=True)
        printed, status = shell.type(command)
        if wanted and not fits(wanted, printed) or not wanted and status != 0:
            print("\n".join(printed))
            sys.exit(f"{path}:{number}: this was to be printed (status {status}):\n" + "\n".join(wanted))
    print(f"{len(steps)} commands of `{section}` did what {path} says")


if __name__ == "__main__":
    main()
