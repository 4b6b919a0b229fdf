import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.catalog import load
from curate.op import Rows


def facts(*captions):
    op = load("score.text_rules")
    op.setup()
    made = op.batch(Rows({"text": pa.array(captions, pa.large_string())}))
    assert list(made) == list(op.makes())
    columns = {name: values.cast(op.makes()[name]).to_pylist() for name, values in made.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def one(caption):
    return facts(caption)[0]


def test_empty_and_blank_captions_are_zeros():
    ratios = dict.fromkeys(("digit_ratio", "alnum_ratio", "capital_ratio", "repeat_ratio"), 0.0)
    found = dict.fromkeys(("has_url", "has_file_name", "boilerplate"), False)
    assert facts("", " \t\n\x1c") == [ratios | found] * 2


@pytest.mark.parametrize(
    ("caption", "name", "value"),
    [
        ("12 34", "digit_ratio", 1.0),
        ("size 10", "digit_ratio", 2 / 6),
        ("٣ cats", "digit_ratio", 1 / 5),
        ("½ cup", "digit_ratio", 0.0),
        ("a-b c!", "alnum_ratio", 3 / 5),
        ("...", "alnum_ratio", 0.0),
        ("cafe\u0301", "alnum_ratio", 1.0),
        ("小猫", "alnum_ratio", 1.0),
        ("Red car", "capital_ratio", 0.5),
        ('"Red (Car', "capital_ratio", 1.0),
        ("iPhone 4S", "capital_ratio", 0.0),
        ("\u01c5ep", "capital_ratio", 1.0),
        ("- A -", "capital_ratio", 1 / 3),
        ("red Red, RED! car", "repeat_ratio", 2 / 4),
        ("a - b - c", "repeat_ratio", 0.0),
        ("- - -", "repeat_ratio", 0.0),
        ("don't don't", "repeat_ratio", 1 / 2),
        ("x", "repeat_ratio", 0.0),
        ("«Été» été — ÉTÉ… -é-", "repeat_ratio", 2 / 4),
        ("«Été» été — -", "capital_ratio", 1 / 4),
    ],
)
def test_ratios(caption, name, value):
    assert one(caption)[name] == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("see https://a.example/b", True),
        ("HTTP://X", True),
        ("www.grillo-designs.co", True),
        ("Buy at JohnLewis.com", True),
        ("LSU nears the top of SI.com's list", True),
        ("the end.Information follows", False),
        ("a dot.comma", False),
        ("http protocol", False),
        ("Dr. Net", False),
    ],
)
def test_urls(caption, found):
    assert one(caption)["has_url"] is found


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("IMG_2041.jpg", True),
        ("IMG_2041", True),
        ("dsc00123", True),
        ("Sunset over the bay.JPEG", True),
        ("photo (1).png", True),
        ("Image 2041 of a dog", False),
        ("a .jpg", False),
        ("jpg files", False),
        ("DSC", False),
        ("photograph", False),
    ],
)
def test_file_names(caption, found):
    assert one(caption)["has_file_name"] is found


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("Click to enlarge picture", True),
        ("click here for more info about 'Boston'", True),
        ("Click on the image to zoom", True),
        ("grunge background — Stock Photo #12043266", True),
        ("Royalty Free Stock Image", True),
        ("Image may contain: one person", True),
        ("No photo available", True),
        ("© Gail Harker", True),
        ("stockings photo", False),
        ("a duck clicking to itself", False),
        ("the village stock pond", False),
        ("no image of the king survives", False),
    ],
)
def test_boilerplate(caption, found):
    assert one(caption)["boilerplate"] is found


def test_rows_do_not_influence_each_other():
    captions = ["Red car", "", "12 34", "stock photo", "x.png"]
    assert facts(*captions) == [one(caption) for caption in captions]


WORDS = st.sampled_from(["red", "RED", "(Red)", "red-", "-", "--a--b--", "don't", "9", ""])
WORDS |= st.sampled_from(["Été", "«été»", "小猫", "½", "e\u0301"])
BLANKS = st.sampled_from([" ", "  ", "\t", "\u3000", "\x1c"])


def is_sign(character):
    return unicodedata.category(character)[0] not in "LMN"


def by_definition(text):
    words = text.split()
    cores = []
    for word in words:
        places = [place for place, character in enumerate(word) if not is_sign(character)]
        cores += [word[places[0] : places[-1] + 1].lower()] if places else []
    visible = "".join(words)
    capitals = [next((c for c in word if unicodedata.category(c)[0] in "LN"), "-").isupper() for word in words]
    return {
        "digit_ratio": sum(unicodedata.category(c) == "Nd" for c in visible) / max(1, len(visible)),
        "alnum_ratio": sum(not is_sign(c) for c in visible) / max(1, len(visible)),
        "capital_ratio": sum(capitals) / max(1, len(words)),
        "repeat_ratio": (len(cores) - len(set(cores))) / max(1, len(cores)),
    }


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.one_of(WORDS, BLANKS), max_size=12).map("".join), min_size=1, max_size=6))
def test_ratios_are_those_of_the_definitions(captions):
    for caption, values in zip(captions, facts(*captions), strict=True):
        assert {name: values[name] for name in by_definition("")} == by_definition(caption)
