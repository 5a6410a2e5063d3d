"""What shells complete beyond fixed choices: known words, and files with or after them. Functions for each shell."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from shlex import join, quote

Completer = dict[str, "str | dict[str, str]"]
"""As shtab takes it: by shell the function to call, and as `preamble` by shell its definition."""


def completed_by(action: argparse.Action, completer: Completer) -> None:
    """Makes shells complete an argument or the value of an option."""
    vars(action)["complete"] = completer  # where shtab looks for it


def offered_for(action: argparse.Action, words: Sequence[str]) -> None:
    """Makes shells offer `words`; unlike argparse's choices, others can be written all the same."""
    vars(action)["offered"] = tuple(words)


def words_and_files(words: Sequence[str]) -> Completer:
    """Completes one of `words`, or a file."""
    return _completer(
        "_vpp_edge_file_or",
        words,
        bash='compgen -W WORDS -- "$1"; compgen -f -- "$1"',
        zsh="compadd -- LIST; _files",
        fish="printf '%s\\n' LIST; __fish_complete_path (commandline -ct)",
    )


def words_then_files(words: Sequence[str]) -> Completer:
    """Completes one of `words`, at the beginning or after a =; and files after a colon, and after a = behind it."""
    return _completer(
        "_vpp_edge_file_after",
        words,
        bash="""
  if [[ "$1" == *:* ]]; then
    compgen -P "${1%"${1##*[:=]}"}" -f -- "${1##*[:=]}"
  else
    compgen -P "${1%"${1##*=}"}" -W WORDS -- "${1##*=}"
  fi""",
        zsh="""
  if [[ $PREFIX == *:* ]]; then
    compset -P '*[:=]'
    _files
  else
    compset -P '*='
    compadd -S '' -- LIST
  fi""",
        fish="""
  set -l word (commandline -ct)
  if string match -q '*:*' -- $word
    set -l start (string replace -r '[^:=]*$' '' -- $word)
    for file in (__fish_complete_path (string replace -r '^.*[:=]' '' -- $word))
      echo $start$file
    end
  else
    set -l start (string replace -r '[^=]*$' '' -- $word)
    for known in LIST
      echo $start$known
    end
  end""",
    )


def _completer(kind: str, words: Sequence[str], bash: str, zsh: str, fish: str) -> Completer:
    """A function `kind` for these words; in its bodies WORDS is one word and LIST several."""
    name = "_".join((kind, *(re.sub(r"\W+", "_", word) for word in words)))
    bodies = {"bash": bash, "zsh": zsh, "fish": fish}
    filled = {s: b.replace("WORDS", quote(" ".join(words))).replace("LIST", join(words)) for s, b in bodies.items()}
    return {
        "bash": name,
        "zsh": name,
        "fish": f"({name})",
        "preamble": {
            "bash": f"{name}() {{ {filled['bash']}\n}}",
            "zsh": f"{name}() {{ {filled['zsh']}\n}}",
            "fish": f"function {name}; {filled['fish']}\nend",
        },
    }


BASH_WORDS = """
# Bash splits words at : and =, which are part of ours. This puts them together, and takes off what it will not replace.
_vpp_edge() {
  local line="${COMP_LINE:0:COMP_POINT}" kept
  local -a COMP_WORDS
  read -r -a COMP_WORDS <<< "$line"
  [[ "$line" == *[[:space:]] ]] && COMP_WORDS+=("")
  local COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
  _shtab_vpp_edge
  kept="${COMP_WORDS[COMP_CWORD]}"
  kept="${kept%"${kept##*[:=]}"}"
  [[ "$COMP_WORDBREAKS" == *:* && "$COMP_WORDBREAKS" == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"$kept"}")
  [[ "${COMPREPLY[*]}" == *[:=] ]] && compopt +o filenames -o nospace 2> /dev/null
  return 0
}
complete -o bashdefault -F _vpp_edge vpp-edge
"""
