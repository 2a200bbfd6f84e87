"""Tissue and glass: masks by hand, annotations of QuPath, grids that lose no tissue, masks out and in again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import slides_made
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from slimscan.errors import InputError, NotReadable, OutputError
from slimscan.nouns.slide import Level
from slimscan.press.slide import tissue as press
from slimscan.press.slide import tissue_files
from slimscan.press.slide.scaled import fitting, scaled
from slimscan.regions.tissue import METHODS, Tissue, geojson, glass, glass_colour, united
from slimscan.regions.tissue.disk import closed, dilated
from slimscan.regions.tissue.fill import filled, touched
from slimscan.regions.tissue.grid import share_of
from slimscan.regions.tissue.methods import away
from slimscan.regions.tissue.picture import HAZE, left_out
from slimscan.regions.tissue.trace import outlines

GLASS, PINK, PALE, PEN = (240, 239, 240), (190, 90, 150), (222, 205, 216), (20, 90, 60)
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))


class Stand:
    """A slide in memory: pixels, and the same at half and quarter size."""

    format, icc, properties, associated = "svs", None, {}, ()

    def __init__(
        self, pixels: np.ndarray, tile: int = 32, power: float | None = 20.0, steps: tuple[int, ...] = (1, 2, 4)
    ):
        self.path, self.magnification, self.mpp = Path("stand.svs"), power, (0.5, 0.5) if power else None
        self.kept = [pixels[::step, ::step] for step in steps]
        self.levels = tuple(
            Level(
                one.shape[:2], (tile, tile), (-(-one.shape[0] // tile), -(-one.shape[1] // tile)), float(step), "jpeg"
            )
            for step, one in zip(steps, self.kept, strict=True)
        )

    def read(self, level: int, y: int, x: int, h: int, w: int) -> np.ndarray:
        whole = self.kept[level]
        out = np.full((h, w, 3), 255, np.uint8)
        inside = whole[max(0, y) : max(0, y + h), max(0, x) : max(0, x + w)]
        out[max(0, -y) :, max(0, -x) :][: inside.shape[0], : inside.shape[1]] = inside
        return out


def slide_pixels(h: int = 320, w: int = 288, seed: int = 0) -> np.ndarray:
    """Glass with noise, a blob of tissue, a faint strand, a pen mark, a grain of dust, and stitching white at the right."""
    random = np.random.default_rng(seed)
    out = np.empty((h, w, 3), np.float64)
    out[:] = GLASS
    y, x = np.mgrid[:h, :w]
    out[(y - 100) ** 2 + (x - 90) ** 2 < 55**2] = PINK
    out[200:206, 20:120] = PALE
    out[250:262, 60:140] = PEN
    out[20:24, 200:204] = (60, 60, 60)
    out += random.normal(0, 2, out.shape)
    out[:, 240:] = 255
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def test_the_disk_is_scipys():
    random = np.random.default_rng(1)
    for radius in (0, 1, 2, 5, 9):
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        disk = x * x + y * y <= radius * radius
        mask = random.random((40, 33)) < 0.03
        assert np.array_equal(dilated(mask, radius), ndimage.binary_dilation(mask, disk))
        shut = closed(mask, radius)
        assert np.array_equal(shut[radius:-radius or None, radius:-radius or None], ndimage.binary_closing(
            np.pad(mask, 2 * radius, mode="edge"), disk)[3 * radius : -3 * radius or None, 3 * radius : -3 * radius or None])  # fmt: skip
        assert (shut >= mask).all()
    for seed in range(60):
        random = np.random.default_rng(seed)
        mask, radius = random.random(random.integers(1, 40, 2)) < random.random() ** 3, int(random.integers(0, 12))
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        assert np.array_equal(dilated(mask, radius), ndimage.binary_dilation(mask, x * x + y * y <= radius * radius))
    assert dilated(np.zeros((0, 4), bool), 3).shape == closed(np.zeros((0, 4), bool), 3).shape == (0, 4)
    with pytest.raises(InputError, match="radius -1: want 0 pixels or more"):
        dilated(np.zeros((2, 2), bool), -1)


def test_colour_is_the_papers_threshold():
    """170 below white in one channel is further than 85; 49 in each of three is 84.9, 50 is 86.6."""
    pixels = np.full((60, 60, 3), 255, np.uint8)
    pixels[5, 5], pixels[30, 30], pixels[50, 50] = (255, 169, 255), (206, 206, 206), (205, 205, 205)
    assert np.argwhere(METHODS["colour"](pixels)).tolist() == [[5, 5], [50, 50]]
    pixels[20:41, 30], pixels[20:41, 41] = 0, 0
    assert METHODS["colour"](pixels)[30, 30:42].all()  # two bars ten pixels apart: closed with radius 9


def test_distance_from_glass_is_measured_to_the_line_to_white():
    glass_is = np.array([240.0, 240, 240])
    points = np.array([[[240, 240, 240], [255, 255, 255], [247, 248, 247], [240, 240, 210], [230, 240, 240]]], np.uint8)
    assert away(points, glass_is)[0].tolist() == pytest.approx([0, 0, (2 / 3) ** 0.5, 30, 10], abs=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_each_method_sees_tissue_and_not_the_seam(name):
    pixels = slide_pixels()
    mask = METHODS[name](pixels)
    assert mask.shape == pixels.shape[:2]
    assert mask[100, 90] or name == "entropy"  # flat tissue has no texture; its edge has
    assert mask[60:140, 30:150].any()
    assert not mask[:, 215:].any(), "glass beside stitching white is no tissue"
    assert mask[250:262, 60:140].any(), "pen marks are kept"
    if name not in ("saturation", "entropy"):  # one drops grey debris, the other sees no texture in four pixels
        assert mask[18:26, 198:206].any(), "dust is kept"
    if name in ("relative", "entropy"):  # the others may miss what is faint, which is why these are there
        assert mask[198:208, 40:100].any(), "faint strands are kept"
    blank = np.clip(np.random.default_rng(2).normal(240, 2, (200, 200, 3)), 0, 255).astype(np.uint8)
    assert not METHODS[name](blank).any(), "glass alone is not cut in two"
    assert METHODS[name](np.zeros((0, 5, 3), np.uint8)).shape == (0, 5)
    with pytest.raises(InputError, match=r"a tissue mask wants RGB pixels uint8 \(h, w, 3\); got float64 \(4, 4\)"):
        METHODS[name](np.zeros((4, 4)))


def test_glass_colour_is_not_the_stitching_and_not_pale_tissue():
    assert np.abs(glass_colour(slide_pixels()) - GLASS).max() < 1
    assert glass_colour(np.full((9, 9, 3), PINK, np.uint8)).tolist() == [255, 255, 255]
    assert glass_colour(np.full((9, 9, 3), 255, np.uint8)).tolist() == [255, 255, 255]


@given(MASKS)
@settings(max_examples=80, deadline=None)
def test_outlines_filled_again_are_the_mask(mask):
    shapes = outlines(mask)
    assert len(shapes) == ndimage.label(mask)[1]
    again = np.zeros_like(mask)
    for rings in shapes:
        piece = filled(rings, mask.shape)
        assert not (again & piece).any()
        again |= piece
    assert np.array_equal(again, mask)


@given(MASKS, st.integers(1, 9), st.integers(1, 9), st.floats(0, 40), st.floats(1, 9))
@settings(max_examples=120, deadline=None)
def test_no_tile_of_glass_holds_tissue(mask, high, wide, margin, step):
    """Whatever the mask, the level and the tile: no tissue pixel lies in a tile of glass, nor within the margin of it."""
    shape = tuple(max(1, int(side * step)) for side in mask.shape)
    found = Tissue(mask, (step, step), shape)
    for down in (1, 2, 3.7):
        level = tuple(max(1, round(side / down)) for side in shape)
        grid = glass(found, level, (high, wide), margin)
        assert grid.shape == (-(-level[0] // high), -(-level[1] // wide))
        for row, column in np.argwhere(grid):
            top, left = row * high * shape[0] / level[0] - margin, column * wide * shape[1] / level[1] - margin
            end = top + high * shape[0] / level[0] + 2 * margin
            right = left + wide * shape[1] / level[1] + 2 * margin
            for y, x in np.argwhere(mask):
                apart = y * step >= end or (y + 1) * step <= top or x * step >= right or (x + 1) * step <= left
                assert apart, (row, column, y, x)


def test_grid_by_hand():
    mask = np.zeros((40, 40), bool)
    mask[5, 5] = True
    found = Tissue(mask, (4.0, 4.0), (160, 160))  # tissue at 20..24
    assert (~glass(found, (160, 160), (32, 32))).nonzero()[0].tolist() == [0]
    assert (~glass(found, (160, 160), (32, 32), 9)).sum() == 4  # 24 + 9 reaches beyond 32
    assert (~glass(found, (40, 40), (8, 8))).sum() == 1
    assert share_of(found, (160, 160), (32, 32))[0, 0] == 1 / 64
    with pytest.raises(InputError, match="margin -1: want 0 or more pixels of the largest level"):
        glass(found, (160, 160), (32, 32), -1)
    with pytest.raises(InputError, match="does not cover the slide"):
        Tissue(mask, (4.0, 4.0), (200, 160))


def test_union_keeps_all_of_every_mask():
    shape = (100, 90)
    first = Tissue(np.zeros((25, 23), bool), (4.0, 4.0), shape, ("a",))
    fine = np.zeros(shape, bool)
    fine[99, 89] = fine[50, 3] = True
    both = united([first, Tissue(fine, (1.0, 1.0), shape, ("b",))])
    assert np.argwhere(both.pixels).tolist() == [[12, 0], [24, 22]]
    assert both.how == ("a", "b")
    coarse = Tissue(np.eye(2, dtype=bool), (50.0, 45.0), shape, ("c",))
    assert united([both, coarse]).pixels[13, 12]
    with pytest.raises(InputError, match="no tissue mask: name at least one method, mask, annotation file or model"):
        united([])
    with pytest.raises(InputError, match="do not belong together"):
        united([first, Tissue(fine[:90], (1.0, 1.0), (90, 90))])


def feature(geometry: dict, name: str | None = None) -> dict:
    classed = {"classification": {"name": name}} if name else {}
    return {"type": "Feature", "id": "x", "geometry": geometry, "properties": {"objectType": "annotation", **classed}}


def square(x: float, y: float, side: float) -> list:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def test_annotations_of_every_kind(tmp_path):
    holed = {
        "type": "Polygon",
        "coordinates": [square(10, 10, 40), square(22, 22, 16)],
        "plane": {"c": -1, "z": 0, "t": 0},
    }
    many = {"type": "MultiPolygon", "coordinates": [[square(70, 0, 4)], [square(70, 20, 4)]]}
    line = {"type": "LineString", "coordinates": [[0, 90], [90, 90]]}
    points = {"type": "MultiPoint", "coordinates": [[95, 5], [95, 55]]}
    gone = {"type": "Polygon", "coordinates": [square(-5, -5, 30)]}
    said = [feature(holed, "Tumor"), feature(many), feature(line, "Edge"), feature(points), feature(gone, "Ignore*")]
    place = tmp_path / "a.geojson"
    for text in (said, {"type": "FeatureCollection", "features": said}):
        place.write_text(json.dumps(text))
        mask = geojson.drawn(geojson.read(place), (100, 100), (1.0, 1.0)).pixels
        assert not mask[30, 30], "holes stay holes"
        assert mask[25:48, 12:20].all()
        assert not mask[15, 15], "what is marked as glass goes"
        assert mask[10:22, 25].all(), "but not where its edge runs"
        assert mask[0:4, 70:74].all()
        assert mask[20:24, 70:74].all()
        assert mask[90, :90].all()
        assert mask[5, 95]
        assert mask[55, 95]
        assert not mask[60:89].any()


def test_polygons_far_outside_cost_nothing():
    far = np.array([[-1e9, -1e9], [1e9, -1e9], [1e9, 1e9], [-1e9, 1e9]])
    assert filled([far], (20, 30)).all()
    assert not touched(far, (20, 30)).any()
    assert touched(np.array([[-1e9, 5.5], [1e9, 5.5]]), (20, 30), ring=False).sum() == 30


def refuse(tmp_path: Path, text: str) -> str:
    place = tmp_path / "bad.geojson"
    place.write_text(text)
    with pytest.raises(InputError) as caught:
        geojson.drawn(geojson.read(place), (100, 100), (1.0, 1.0), place.name)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_what_is_no_annotation_is_refused(tmp_path):
    says = "bad.geojson: "
    box = {"type": "Polygon", "coordinates": [square(10, 10, 40)]}
    assert refuse(tmp_path, "{") == f"{says}is no JSON; in QuPath: File, Export objects as GeoJSON, not compressed"
    assert refuse(tmp_path, "[" * 100_000).startswith(f"{says}is no JSON")
    assert refuse(tmp_path, "[]") == f"{says}holds no annotation; draw the tissue in QuPath and export it as GeoJSON"
    assert refuse(tmp_path, '{"type": "Circle", "coordinates": []}') == (
        f"{says}is not the GeoJSON that QuPath writes (geometry 'Circle')"
    )
    assert "a ring without points" in refuse(tmp_path, '{"type": "Point", "coordinates": [NaN, 1]}')
    assert refuse(tmp_path, json.dumps(feature(box, "Glass"))) == (
        f"{says}every annotation is glass, and nothing says where tissue is; annotate the tissue as well"
    )
    away_from_it = {"type": "Polygon", "coordinates": [square(1000, 10, 40)]}
    assert "no annotation of tissue touches the slide of 100 x 100 pixels" in refuse(tmp_path, json.dumps(away_from_it))


def test_scaled_reads_the_same_in_pieces():
    slide = Stand(slide_pixels())
    for step in (1.0, 1.5, 2.0, 3.3, 7.7):
        view = scaled(slide, step)
        whole = view.whole()
        assert whole.shape[:2] == view.shape
        y, x = view.shape[0] // 3, view.shape[1] // 2
        assert np.array_equal(view.read(y, x, 9, 11), whole[y : y + 9, x : x + 11])
        assert (view.read(-4, -4, 4, 4) == 255).all()
    assert scaled(slide, 8.0).level == 2
    assert scaled(slide, 3.0).level == 1
    assert fitting(slide, 100).shape == (100, 90)
    four = scaled(Stand(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), steps=(1,)), 3.0)
    assert four.whole()[0, 0].tolist() == [15, 16, 17]  # the middle of nine pixels
    assert four.whole()[1, 1].tolist() == [45, 46, 47], "a border pixel is the mean of what lies inside"
    with pytest.raises(InputError, match=r"stand\.svs: 0.5 pixels of the slide a pixel cannot be had; want 1 or more"):
        scaled(slide, 0.5)


def test_a_slide_from_methods_to_grids_and_back(tmp_path):
    slide = Stand(slide_pixels())
    found = press.found(slide, press.Wanted(at=10))
    assert found.how == ("colour", "otsu", "relative", "entropy")
    assert found.step == (2.0, 2.0)
    grids = press.grids(slide, found, 8)
    assert set(grids) == {0, 1, 2}
    assert 0 < grids[0].sum() < grids[0].size
    assert not grids[0][2:4, 2:4].any()
    for ending in (".tif", ".png", ".geojson"):
        place = tmp_path / f"mask{ending}"
        tissue_files.write(found, place, slide)
        text = ending == ".geojson"
        wanted = press.Wanted(annotations=(place,), at=10) if text else press.Wanted(masks=(place,), at=10)
        again = press.found(slide, wanted)
        assert again.how == (place.name,)
        assert np.array_equal(again.pixels, found.pixels)
        with pytest.raises(OutputError, match="exists already"):
            tissue_files.write(found, place, slide)
    picture = press.picture(slide, found, grids)
    assert picture.shape == (320, 288, 3)
    assert (picture == HAZE).all(axis=-1).any()
    assert np.array_equal(picture[95:105, 80:100], slide.kept[0][95:105, 80:100])


def test_a_corrected_mask_stands_alone_unless_a_method_is_named(tmp_path):
    slide = Stand(slide_pixels())
    import imagecodecs

    drawn = np.zeros((160, 144, 3), np.uint8)
    drawn[40:60, 40:60] = (0, 255, 0)  # any colour
    (tmp_path / "by hand.png").write_bytes(imagecodecs.png_encode(drawn))
    alone = press.found(slide, press.Wanted(masks=(tmp_path / "by hand.png",)))
    assert alone.share == 400 / (160 * 144)
    more = press.found(slide, press.Wanted(masks=(tmp_path / "by hand.png",), methods=("colour",), at=10))
    assert more.share > 5 * alone.share
    assert (more.pixels >= alone.pixels).all()


def test_masks_that_do_not_fit_are_refused(tmp_path):
    import imagecodecs
    import tifffile

    slide = Stand(slide_pixels())
    square_one = tmp_path / "square.png"
    square_one.write_bytes(imagecodecs.png_encode(np.zeros((50, 50), np.uint8)))
    with pytest.raises(InputError, match=r"is 50 x 50, which is another proportion than stand\.svs with 288 x 320"):
        press.found(slide, press.Wanted(masks=(square_one,)))
    other = tmp_path / "other.tif"
    tissue_files.write(Tissue(np.ones((9, 9), bool), (8.0, 8.0), (72, 72)), other, slide)
    with pytest.raises(
        InputError, match=r"is of a slide of \[72, 72\] pixels \(height, width\), and stand.svs has \[320, 288\]"
    ):
        press.found(slide, press.Wanted(masks=(other,)))
    for name, words in (
        ("a.jpg", r"want a mask as .tif, .tiff, .png \(JPEG would blur it\)"),
        ("none.tif", "is not there"),
        ("none.png", "cannot be read"),
    ):
        with pytest.raises(InputError, match=words):
            press.found(slide, press.Wanted(masks=(tmp_path / name,)))
    (tmp_path / "bad.tif").write_bytes(b"II*\0nonsense")
    with pytest.raises(NotReadable, match=r"bad.tif: cannot be read as a TIFF"):
        press.found(slide, press.Wanted(masks=(tmp_path / "bad.tif",)))
    colours = tmp_path / "pyramid.ome.tif"
    with tifffile.TiffWriter(colours, ome=True) as file:
        file.write(np.ones((320, 288), np.uint8), subifds=1, tile=(16, 16))
        file.write(np.ones((160, 144), np.uint8), tile=(16, 16))
    assert press.found(slide, press.Wanted(masks=(colours,))).share == 1


@pytest.mark.parametrize(
    ("sides", "fits"),
    [((1000, 1500), True), ((999, 1500), True), ((1000, 1499), True), ((995, 1500), False), ((1000, 1492), False)],
)
def test_a_mask_is_of_the_whole_slide_to_a_pixel(tmp_path, sides, fits):
    import imagecodecs

    class Large(Stand):
        levels = (Level((100_000, 150_000), (256, 256), (391, 586), 1.0, "jpeg"),)

        def __init__(self):
            self.path = Path("large.svs")

    place = tmp_path / "m.png"
    place.write_bytes(imagecodecs.png_encode(np.ones(sides, np.uint8)))
    if fits:
        assert tissue_files.mask(place, Large()).share == 1
    else:  # 5 rows of 100 pixels are far more than the margin
        with pytest.raises(InputError, match="another proportion"):
            tissue_files.mask(place, Large())


def test_words_that_mean_nothing_are_refused():
    for words, said in (
        ({"methods": ("colour", "magic")}, 'no tissue method is called "magic"; allowed: colour, otsu, saturation'),
        ({"methods": ()}, "nothing says where tissue is: name a method, a mask, annotations or a model"),
        ({"margin": -1.0}, "margin -1: want 0 or more pixels"),
        ({"chance": 2.0}, "chance 2: want a share of tissue above 0 and below 1"),
    ):
        with pytest.raises(InputError, match=said):
            press.Wanted(**words)
    slide = Stand(slide_pixels())
    with pytest.raises(InputError, match="was scanned at 20x; want a magnification above 0 and up to that, got 40"):
        press.found(slide, press.Wanted(at=40))
    unknown = Stand(slide_pixels(), power=None)
    with pytest.raises(InputError, match="says neither a magnification nor micrometres a pixel"):
        press.found(unknown, press.Wanted(at=10))
    assert press.view(unknown).shape == (320, 288)


def test_a_mask_without_tissue_leaves_everything_in():
    slide = Stand(np.full((200, 200, 3), 240, np.uint8))
    found = press.found(slide)
    assert found.share == 0
    assert not any(grid.any() for grid in press.grids(slide, found).values())


def test_the_picture_wants_its_own_grid():
    found = Tissue(np.zeros((10, 10), bool), (10.0, 10.0), (100, 100))
    with pytest.raises(
        InputError, match=r"the grid is \(3, 3\), and a level of \(100, 100\) in tiles of \(50, 50\) has \(2, 2\)"
    ):
        left_out(np.zeros((20, 20, 3), np.uint8), found, np.zeros((3, 3), bool), (100, 100), (50, 50))


def test_a_real_slide_loses_no_tissue(real_data):
    """Every tile that goes is as pale as glass: by its own pixels, which the mask never saw at full size."""
    from slimscan.files.slides import open_slide

    place = real_data / "wsi_he" / "cmu_small_region.svs"
    if not place.is_file():
        pytest.skip("no wsi_he/cmu_small_region.svs among the real images")
    with open_slide(place) as slide:
        found = press.found(slide)
        grid = press.grids(slide, found)[0]
        assert 0.3 < found.share < 0.5
        assert 20 <= grid.sum() <= 60
        level = slide.levels[0]
        for row, column in np.argwhere(grid):
            pixels = slide.read(0, row * level.tile[0], column * level.tile[1], *level.tile)
            assert (np.sqrt(((255.0 - pixels) ** 2).sum(axis=-1)) > 85).mean() < 0.002


def test_the_command_writes_nothing_where_it_must_not(tmp_path):
    from slimscan.cli import slide_tissue

    place = slides_made.svs(tmp_path / "s.svs", "jpeg")
    drawn = tmp_path / "drawn.png"
    drawn.write_bytes(tissue_files.png(np.full((60, 60), 255, np.uint8)))
    held = {one: one.read_bytes() for one in (place, drawn)}
    mask = str(tmp_path / "m.png")
    for words, kind, said in (
        ({"output": mask, "picture": f"{tmp_path}/./m.png"}, InputError, "would be written twice"),
        ({"output": mask, "review": f"{tmp_path}/../{tmp_path.name}/m.png"}, InputError, "would be written twice"),
        ({"output": mask, "picture": f"{tmp_path}/p.jpg"}, InputError, "is a .png"),
        ({"output": mask, "review": f"{tmp_path}/r.jpg"}, InputError, "got .jpg"),
        ({"output": str(tmp_path / "m")}, InputError, "no ending"),
        ({"output": str(drawn), "mask": [str(drawn)]}, OutputError, "would change its own source"),
        ({"output": mask, "review": str(drawn), "mask": [str(drawn)]}, OutputError, "would change its own source"),
    ):
        with pytest.raises(kind, match=said):
            slide_tissue.tissue(str(place), force=True, **words)
    assert {one: one.read_bytes() for one in tmp_path.iterdir()} == held


def test_the_command(tmp_path, real_data, capsys):
    from slimscan.cli import slide_tissue

    place = real_data / "wsi_he" / "cmu_small_region.svs"
    if not place.is_file():
        pytest.skip("no wsi_he/cmu_small_region.svs among the real images")
    out, review, picture = (str(tmp_path / name) for name in ("m.tif", "r.geojson", "p.png"))
    assert slide_tissue.tissue(str(place), out, review=review, picture=picture, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["how"] == ["colour", "otsu", "relative", "entropy"]
    assert told["levels"][0]["tiles"] == 130
    assert told["step"] == [8.0, 8.0]
    assert slide_tissue.tissue(str(place), str(tmp_path / "n.png"), annotations=[review], margin=0.0) == 0
    assert "by r.geojson" in capsys.readouterr().out
    with pytest.raises(OutputError, match="exists already"):
        slide_tissue.tissue(str(place), out)
