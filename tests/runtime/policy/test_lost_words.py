"""An instruction that is longer than what a policy reads: which words are lost, and who says so."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material import GOLDEN

from vpp_edge import EdgePolicy
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.cli.main import main
from vpp_edge.export.tokenizer import load_tokenizer, text_inputs
from vpp_edge.runtime.policy.tokenizer import InstructionTokenizer
from vpp_edge.spec.instruction import READERS, TruncatedInstructionWarning, lost_words, truncation_note

# In the small policy's vocabulary each letter is a token, so 18 letters fit between the start and the end token.
CASES = {
    "a b c d e f g h i j k l m n o p q r": "",
    "a b c d e f g h i j k l m n o p q r s": "s",
    "a b c d e f g h i j k l m n o p q r s\n  t ": "s t",
    "a b c d e f g h i j k l m n o p q red": "red",
    "a b c d e f g h i j k l m n o p q r.": ".",
    "a b c d e f g h i j k l m n o p q r. S": ". S",
    "a b c d e f g h i j k l m n o p q don't": "don't",
    "a b c d e f g h i j k l m n o p q über": "über",
    "a b c d e f g h i j k l m n o p q 🤖": "🤖",
    "abcdefghijklmnopqrstuvw": "abcdefghijklmnopqrstuvw",
    "A B C D E F G H I J K L M N O P Q R STOP": "STOP",
}


@pytest.fixture(scope="module")
def tokenizer(small_bundle: Path) -> InstructionTokenizer:
    return InstructionTokenizer((small_bundle / "tokenizer.json").read_bytes(), 0)


@pytest.mark.parametrize(("instruction", "lost"), CASES.items())
def test_words_that_are_lost_wholly_or_in_part(tokenizer: InstructionTokenizer, instruction: str, lost: str) -> None:
    assert " ".join(lost_words(instruction, tokenizer.tokens(instruction, 20))) == lost


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(min_size=1, max_size=60).filter(lambda text: text.strip()), st.integers(3, 40))
def test_the_lost_words_are_the_end_of_the_instruction(tokenizer: InstructionTokenizer, text: str, length: int) -> None:
    encoded = tokenizer.tokens(text, length)
    words = lost_words(text, encoded)
    whole = len(tokenizer.tokens(text, 10_000).ids)
    assert bool(words) == (whole > length)
    assert "".join(text.split()).endswith("".join(words))


def test_the_limit_is_the_policy_s(tokenizer: InstructionTokenizer) -> None:
    text = "a b c d e f"
    assert truncation_note(text, [tokenizer.tokens(text, 8), tokenizer.tokens(text, 8)]) == ""
    note = truncation_note(text, [tokenizer.tokens(text, 6), tokenizer.tokens(text, 7)])
    assert f'{READERS[0]} reads 6 tokens and loses "e f"' in note
    assert f'{READERS[1]} reads 7 tokens and loses "f"' in note


def test_the_words_of_the_clip_vocabulary_are_found() -> None:
    folder = GOLDEN / "tokenizer"
    if not folder.is_dir():
        pytest.skip(f"no CLIP vocabulary at {folder}; it is kept beside the repository")
    text = "pick up the red block, put it into the drawer on the left, and the unscrewdriverable too"
    encoded = load_tokenizer(folder)(text, truncation=True, max_length=20, padding="max_length")
    assert lost_words(text, encoded.encodings[0]) == ("unscrewdriverable", "too")


LONG = "Move the mango to the basket."


@pytest.fixture(scope="module")
def policy(small_bundle: Path):
    with EdgePolicy.load(small_bundle, threads=1) as policy:
        yield policy


def test_instruct_warns_once_and_again_after_another_instruction(policy: EdgePolicy) -> None:
    with pytest.warns(
        TruncatedInstructionWarning, match=r'the video model reads 20 tokens and loses "basket\."'
    ) as seen:
        policy.instruct(LONG)
    assert seen[0].filename == __file__  # the line that called instruct
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            policy.instruct(LONG)
        policy.instruct("turn")
    with pytest.warns(TruncatedInstructionWarning):
        policy.instruct(LONG)


def test_export_says_it_of_its_sample_instruction(small_checkpoint: Path, small_bundle: Path) -> None:
    tokenizer = load_tokenizer(small_checkpoint / "clip")
    with pytest.warns(TruncatedInstructionWarning, match=r'loses "basket\."'):
        text_inputs(tokenizer, Bundle(small_bundle).manifest.policy, LONG)


def test_commands_say_it_as_a_note_on_stderr(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify` plays the observations that were kept at export, whose second instruction is too long."""
    for _ in range(2):
        assert main(["verify", str(small_bundle), "--json"]) == 0
        out, err = capsys.readouterr()
        json.loads(out)
        notes = [line for line in err.splitlines() if line.startswith("note: ")]
        assert any(
            'the instruction "a sentence of the parity check, too long on purpose' in note
            and "tray it came from" in note
            for note in notes
        )
        assert len(notes) == len(set(notes)) and "Warning" not in err


@pytest.mark.live
def test_a_run_says_it_before_the_hand_moves_and_in_its_report(
    small_bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", str(small_bundle), "--instruction", LONG, "--duration", "0.3", "--threads", "1", "--json"]
    cameras = ["--camera", "software:sim/top", "--camera", "software:sim/wrist"]
    status = main([*words, *cameras])
    out, err = capsys.readouterr()
    assert status == 0, err
    said = 'the video model reads 20 tokens and loses "basket."'
    assert err.count(said) == 1
    assert sum(said in note for note in json.loads(out)["notes"]) == 1


@pytest.mark.live
def test_an_evaluation_says_it_once_for_all_its_processes(
    small_bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--episodes", "3", "--time-limit", "0.2", "--processes", "2", "--json", "--quiet"]
    assert main(["eval", str(small_bundle), *words]) == 0
    err = capfd.readouterr().err
    notes = [line for line in err.splitlines() if "tokens and loses" in line]
    assert any('"press the yellow button"' in note and 'loses "button"' in note for note in notes)
    assert len(notes) == len(set(notes)) and "Warning" not in err
