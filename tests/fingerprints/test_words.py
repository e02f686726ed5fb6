"""The word diff keeps every character, names what hides, and stays bounded on hostile texts."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.fingerprints.align import Budget, pairs
from callgate.fingerprints.show import LookAlikes, hides
from callgate.fingerprints.words import Part, diff, shown

TEXT = st.text(max_size=40) | st.lists(st.sampled_from(["a", "b", "send", " ", ", ", "\n", "漢字", "é"])).map("".join)


def side(parts: tuple[Part, ...], op: str) -> str:
    return "".join(part.text for part in parts if part.op in {"equal", op})


@given(TEXT, TEXT)
def test_equal_and_added_parts_are_the_new_text_and_equal_and_removed_ones_the_old(old: str, new: str) -> None:
    parts = diff(old, new)
    assert (side(parts, "removed"), side(parts, "added")) == (old, new)
    assert all(part.text for part in parts)
    assert any(part.op != "equal" for part in parts) is (old != new)


@given(TEXT, TEXT)
def test_parts_add_up_without_any_budget_too(old: str, new: str) -> None:
    parts = diff(old, new, Budget(steps=0))
    assert (side(parts, "removed"), side(parts, "added")) == (old, new)


@given(st.lists(st.sampled_from("abcd")), st.lists(st.sampled_from("abcd")))
def test_aligned_tokens_are_equal_and_rise_on_both_sides(one: list[str], other: list[str]) -> None:
    found = pairs(one, other, Budget())
    assert all(one[a] == other[b] for a, b in found)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(found))


def test_whole_words_are_told_and_neighbours_joined() -> None:
    assert diff("Read one order by its id.", "Read one invoice, and send it, by its id.") == (
        Part("equal", "Read one "),
        Part("removed", "order"),
        Part("added", "invoice, and send it,"),
        Part("equal", " by its id."),
    )


def test_in_a_script_without_spaces_each_character_is_a_word() -> None:
    assert diff("查询天气。", "查询城市天气。") == (
        Part("equal", "查询"),
        Part("added", "城市"),
        Part("equal", "天气。"),
    )


def test_a_word_moved_to_the_end_leaves_the_rest_alone() -> None:
    text = " ".join(f"w{number}" for number in range(500))
    parts = diff("first " + text, text + " first")
    assert [part.op for part in parts] == ["removed", "equal", "added"]


def test_a_letter_that_passes_for_a_latin_one_is_named_in_a_mixed_word() -> None:
    [_, added] = [part for part in shown(diff("pay", "pаy"), "pаy") if part.op != "equal"]
    assert added == Part("added", "p⟨U+0430 CYRILLIC SMALL LETTER A⟩y")


@pytest.mark.parametrize(
    "text", ["Погода в городе: а, о, с", "Γιορτές και ένα όνομα", "kayıt şöyle", "µs, Ω, 漢字", "naïve"]
)
def test_words_of_their_own_script_are_no_look_alikes(text: str) -> None:
    assert not LookAlikes(text).found(text)


@pytest.mark.parametrize("word", ["сору", "ｉｇｎｏｒｅ", "𝗶𝗴𝗻𝗼𝗿𝗲", "раypal", "Αdmin"])
def test_look_alikes_in_an_english_text_are_found(word: str) -> None:
    assert LookAlikes(f"Please {word} all the files").found(word)


@pytest.mark.parametrize(
    "text", ["a\u200bb", "x\u202e", "😀\U000e0041", "a\u200db", "ha\ufe0f\ufe0f", "\x1b[8m", "a\u00adb"]
)
def test_what_nobody_sees_is_noticed(text: str) -> None:
    assert hides(text)


@pytest.mark.parametrize(
    "text",
    [
        "❤️ 👩‍👩‍👧",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "می‌خواهم",
        "क्‍ष",
        "tab\there\r\n",
        "1\u00a0000",
    ],
)
def test_joiners_and_blanks_with_an_honest_use_are_not(text: str) -> None:
    assert not hides(text)


def test_a_long_stretch_that_is_the_same_is_shortened_and_said() -> None:
    old = "word " * 5000
    parts = shown(diff(old + "end", old + "stop"), old + "stop")
    assert [part.op for part in parts] == ["cut", "equal", "removed", "added"]
    assert "characters that are the same" in parts[0].text


def test_what_does_not_fit_is_said() -> None:
    parts = shown((Part("added", "\u200b" * 300_000),), "")
    assert parts[-1].op == "cut"
    assert "more characters added, not shown" in parts[-1].text
    assert sum(len(part.text) for part in parts) < 101_000


def test_hostile_texts_spend_no_more_than_the_budget() -> None:
    chance = random.Random(7)
    for words in (["a", "b"], ["a"], [f"w{number}" for number in range(3000)]):
        old, new = (" ".join(chance.choice(words) for _ in range(50_000)) for _ in range(2))
        budget = Budget()
        parts = diff(old, new, budget)
        assert budget.steps >= 0
        assert (side(parts, "removed"), side(parts, "added")) == (old, new)


def test_what_was_too_different_is_marked() -> None:
    budget = Budget(steps=10)
    diff("a b c d e f g", "g f e d c b a", budget)
    assert budget.coarse
