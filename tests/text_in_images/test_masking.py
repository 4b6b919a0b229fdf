import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curate.text_in_images.masking import boxes_of, fill_boxes, inpaint_boxes, polygons_of, without_text


def grey(*rows):
    return np.stack([np.array(rows, np.uint8)] * 3, axis=2)


def boxes(*found):
    return np.array(found, np.int64).reshape(-1, 4)


NINE = grey([10, 20, 30], [40, 200, 60], [70, 80, 90])


def test_centre_takes_the_mean_of_its_eight_neighbours():
    filled = fill_boxes(NINE, boxes((1, 1, 2, 2)))
    assert filled[:, :, 0].tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    assert NINE[1, 1, 0] == 200, "the original is left alone"


def test_channels_are_apart():
    image = np.stack([NINE[:, :, 0], 255 - NINE[:, :, 0], np.zeros((3, 3), np.uint8)], axis=2)
    assert fill_boxes(image, boxes((1, 1, 2, 2)))[1, 1].tolist() == [50, 205, 0]


def test_ring_leaves_out_other_boxes():
    """Two boxes side by side: the right one is no part of the left one's ring."""
    image = grey([10, 10, 30, 30], [10, 200, 250, 30], [10, 10, 30, 30])
    filled = fill_boxes(image, boxes((1, 1, 2, 2), (2, 1, 3, 2)))
    assert filled[1, 1, 0] == round((5 * 10 + 2 * 30) / 7) and filled[1, 2, 0] == round((5 * 30 + 2 * 10) / 7)


def test_ring_is_a_tenth_of_the_smaller_side():
    """25 px make 2 (half to even), 35 px make 4: the step at the ring's edge shows which."""
    for side, m in ((5, 1), (25, 2), (35, 4)):
        image = np.zeros((80, 80, 3), np.uint8)
        image[10 - m : 10 + side + m, 10 - m : 10 + side + m] = 100
        filled = fill_boxes(image, boxes((10, 10, 10 + side, 10 + side)))
        assert (filled[10 : 10 + side, 10 : 10 + side] == 100).all()


@pytest.mark.parametrize(("neighbours", "mean"), [((2, 3), 2), ((3, 4), 4), ((254, 255), 254)])
def test_half_is_rounded_to_even(neighbours, mean):
    assert fill_boxes(grey([neighbours[0], 9, neighbours[1]]), boxes((1, 0, 2, 1)))[0, 1, 0] == mean


def test_box_without_a_ring_takes_the_mean_of_all_that_is_left():
    image = grey([0, 0, 0, 0, 40, 60], [0, 0, 0, 0, 40, 60])
    around = boxes((1, 0, 2, 2), (0, 0, 1, 2), (2, 0, 4, 2))
    filled = fill_boxes(image, around)
    assert filled[0, :2, 0].tolist() == [50, 50], "both see boxes only"
    assert filled[0, 2, 0] == 40, "this one has a ring"


def test_nothing_left():
    everything = boxes((0, 0, 3, 3))
    assert (fill_boxes(NINE, everything) == 127).all()
    assert (fill_boxes(NINE, everything, "median") == 127).all()
    assert (inpaint_boxes(NINE, everything) == 127).all()


def test_no_boxes():
    for fill in (fill_boxes, inpaint_boxes):
        assert (fill(NINE, boxes()) == NINE).all()


def test_overlapping_boxes_the_smaller_is_on_top():
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, 10:] = 200
    big, small = (2, 2, 14, 14), (13, 5, 15, 7)
    filled = fill_boxes(image, boxes(big, small))
    assert filled[6, 13, 0] == filled[6, 14, 0] != filled[6, 12, 0]


found = st.lists(
    st.tuples(st.integers(0, 10), st.integers(0, 8), st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=5
)


@settings(max_examples=60, deadline=None)
@given(found, st.randoms(use_true_random=False), st.integers(0, 2**16))
def test_order_of_the_boxes_does_not_matter(found, shuffler, seed):
    image = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), np.uint8)
    corners = [(x, y, min(12, x + w), min(10, y + h)) for x, y, w, h in found]
    shuffled = shuffler.sample(corners, len(corners))
    for fill in (fill_boxes, inpaint_boxes):
        assert (fill(image, boxes(*corners)) == fill(image, boxes(*shuffled))).all()


@settings(max_examples=60, deadline=None)
@given(found, st.integers(0, 2**16))
def test_only_boxes_change_and_stay_within_the_colours_around(found, seed):
    image = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), np.uint8)
    corners = [(x, y, min(12, x + w), min(10, y + h)) for x, y, w, h in found]
    inside = np.zeros((10, 12), bool)
    for left, top, right, bottom in corners:
        inside[top:bottom, left:right] = True
    filled = fill_boxes(image, boxes(*corners))
    assert (filled[~inside] == image[~inside]).all()
    if not inside.all():
        assert image[~inside].min() <= filled[inside].min() <= filled[inside].max() <= image[~inside].max()


def test_boxes_are_clipped_and_those_outside_dropped():
    polygons = np.array([[[-5, -5], [3, -5], [3, 2], [-5, 2]], [[20, 1], [25, 1], [25, 2], [20, 2]]])
    assert boxes_of(polygons, width=10, height=8).tolist() == [[0, 0, 4, 3]]
    assert boxes_of(np.zeros(0), width=10, height=8).shape == (0, 4)


def test_polygons_of_a_column():
    column = pa.array([[1.0] * 8, [], [2.0] * 16, []], pa.list_(pa.float32()))
    assert [len(found) for found in polygons_of(column)] == [1, 0, 2, 0]
    assert [len(found) for found in polygons_of(column.slice(1, 2))] == [0, 2]
    assert polygons_of(column.slice(2, 1))[0].tolist() == [[[2.0, 2.0]] * 4] * 2


@pytest.mark.parametrize("fill", ["mean", "median", "inpaint"])
def test_a_word_on_a_plain_sheet_is_gone(fill):
    sheet = np.full((30, 60, 3), 220, np.uint8)
    sheet[12:18, 10:50:3] = 0
    clean = without_text(Image.fromarray(sheet), np.array([9, 11, 50, 11, 50, 18, 9, 18]), fill)
    assert abs(np.asarray(clean, int) - 220).max() <= 2, "Telea rounds"


def test_median_of_the_ring():
    image = grey([10, 20, 30], [40, 200, 60], [70, 80, 255])
    assert fill_boxes(image, boxes((1, 1, 2, 2)), "median")[1, 1, 0] == 50, "40 and 60 are in the middle of eight"
    assert fill_boxes(image, boxes((1, 1, 2, 2)), "mean")[1, 1, 0] == round(
        (10 + 20 + 30 + 40 + 60 + 70 + 80 + 255) / 8
    )
    assert fill_boxes(grey([1, 9, 3]), boxes((1, 0, 2, 1)), "median")[0, 1, 0] == 2


def test_a_line_through_the_ring_does_not_tint_the_median():
    sheet = np.full((40, 80, 3), 250, np.uint8)
    sheet[:, 20:22] = 0  # a rule that the box crosses
    box = boxes((10, 10, 70, 30))
    assert fill_boxes(sheet, box, "median")[20, 40].tolist() == [250] * 3
    assert fill_boxes(sheet, box, "mean")[20, 40, 0] < 245
