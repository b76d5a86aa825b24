import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageFile

from sqzx import images as room
from sqzx.errors import InputError, printable
from sqzx.images import fit, read_image

# A picture of 5 rows and 7 columns without symmetry, in colour and in grey.
COLOUR = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
FORMATS = ["PNG", "JPEG", "BMP", "GIF", "WEBP"]


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width, height, depth, colour, rows, *extra):
    """A PNG file byte by byte; `extra` are further chunks, (name, data)."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), *extra, (b"IDAT", data), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def over_white(values, alpha):
    """What a screen shows: value and white mixed by alpha / 255, rounded."""
    return np.rint(values * (alpha / 255) + 255 * (1 - alpha / 255)).astype(np.uint8)


def itu_601(rgb):
    return rgb.astype(float) @ [0.299, 0.587, 0.114]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write a file under a name that doesn't tell its kind."""
    path = tmp_path_factory.mktemp("images") / "picture.dat"

    def write(content):
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def refused(written):
    """Check that a file is refused in one line that begins with its path; return the rest."""

    def check(content, channels=3):
        path = written(content)
        with pytest.raises(InputError) as error:
            read_image(path, channels)
        return without_path(error.value, path)

    return check


def without_path(error, path):
    line = str(error)
    prefix = printable(f"{path}: ")
    assert line.startswith(prefix)
    assert len(line.splitlines()) == 1
    return line.removeprefix(prefix)


# Formats and colours


@pytest.mark.parametrize("options", [{"kind": "PNG"}, {"kind": "BMP"}, {"kind": "WEBP", "lossless": True}])
def test_colour_is_read_exactly(written, options):
    image = read_image(written(encoded(Image.fromarray(COLOUR), **options)), 3)
    assert (image.dtype, image.flags.writeable) == (np.uint8, True)
    assert np.array_equal(image, COLOUR)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_grey_is_read_exactly_and_fills_three_channels(written, kind):
    path = written(encoded(Image.fromarray(GREY), kind))
    assert np.array_equal(read_image(path, 1), GREY[..., None])
    assert np.array_equal(read_image(path, 3), np.stack([GREY] * 3, -1))


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_a_jpeg_is_read_as_pillow_decodes_it(written, progressive):
    gradient = np.add.outer(np.arange(20), np.arange(30)).astype(np.uint8)[..., None] * [1, 2, 5]
    content = encoded(
        Image.fromarray(gradient.astype(np.uint8)), "JPEG", quality=95, subsampling=0, progressive=progressive
    )
    assert (b"\xff\xc2" in content) == progressive
    image = read_image(written(content), 3)
    assert image.shape == (20, 30, 3)
    assert np.abs(image.astype(int) - gradient).max() < 16


def test_colour_becomes_grey_by_itu_601(written):
    image = read_image(written(encoded(Image.fromarray(COLOUR))), 1)
    assert image.shape == (5, 7, 1)
    assert np.abs(image[..., 0] - itu_601(COLOUR)).max() < 0.51


@pytest.mark.parametrize(
    ("ink", "rgb"),
    [((0, 0, 0, 0), (255, 255, 255)), ((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 155), [100] * 3)],
)
def test_cmyk_becomes_rgb(written, ink, rgb):
    path = written(encoded(Image.new("CMYK", (16, 8), ink), "JPEG", quality=100))
    image = read_image(path, 3)
    assert image.shape == (8, 16, 3)
    assert np.abs(image.astype(int) - rgb).max() <= 2
    assert np.abs(read_image(path, 1) - itu_601(np.array(rgb))).max() <= 3


def test_a_palette_becomes_rgb(written):
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4) % 5
    palette = np.random.default_rng(1).integers(0, 256, (5, 3), dtype=np.uint8)
    image = Image.frombytes("P", (4, 3), indices.tobytes())
    image.putpalette(palette.tobytes())
    for kind in ("PNG", "GIF", "BMP"):
        path = written(encoded(image, kind))
        assert np.array_equal(read_image(path, 3), palette[indices])
        assert np.abs(read_image(path, 1)[..., 0] - itu_601(palette[indices])).max() < 0.51


def test_one_bit_is_black_and_white(written):
    bits = np.random.default_rng(2).random((6, 11)) < 0.5
    for kind in ("PNG", "BMP"):
        path = written(encoded(Image.fromarray(bits), kind))
        assert np.array_equal(read_image(path, 1)[..., 0], bits * np.uint8(255))


def test_sixteen_bits_of_grey_are_scaled_and_rounded(written):
    values = np.arange(2**16).reshape(256, 256)
    path = written(png(256, 256, 16, 0, [row.astype(">u2").tobytes() for row in values]))
    image = read_image(path, 1)[..., 0]
    assert np.array_equal(image.ravel()[::257], np.arange(256))
    assert np.array_equal(image, np.rint(values / 257))
    assert np.array_equal(read_image(path, 3), np.stack([image] * 3, -1))


def test_of_sixteen_bits_of_colour_the_high_byte_is_kept(written):
    row = np.array([0x0000, 0x12FF, 0xFFFF, 0x80_00, 0x7FFF, 0x0100], ">u2")
    image = read_image(written(png(2, 2, 16, 2, [row.tobytes()] * 2)), 3)
    assert image[1].tolist() == [[0x00, 0x12, 0xFF], [0x80, 0x7F, 0x01]]


def test_of_an_animation_the_first_frame_is_read(written):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY), Image.fromarray(GREY // 2)]
    for kind in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        with Image.open(io.BytesIO(content)) as image:
            assert image.n_frames == 3
        assert np.array_equal(read_image(written(content), 1)[..., 0], GREY)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_name_does_not_matter(tmp_path, kind):
    image = Image.new("RGB", (8, 4), (200, 200, 200))
    for name in ("a.jpg", "b.png", "c.txt", "d"):
        path = tmp_path / name
        path.write_bytes(encoded(image, kind))
        assert np.abs(read_image(path, 3).astype(int) - np.full((4, 8, 3), 200)).max() <= 2


# Transparency


def test_rgba_lies_on_white(written):
    alpha = np.linspace(0, 255, 35).round().astype(np.uint8).reshape(5, 7, 1)
    image = Image.fromarray(np.concatenate([COLOUR, alpha], -1))
    expected = over_white(COLOUR, alpha)
    assert np.array_equal(read_image(written(encoded(image)), 3), expected)
    assert np.abs(read_image(written(encoded(image)), 1)[..., 0] - itu_601(expected)).max() < 0.51
    path = written(encoded(image, "WEBP", lossless=True, exact=True))
    assert np.array_equal(read_image(path, 3), expected)


def test_grey_with_alpha_lies_on_white(written):
    alpha = np.linspace(0, 255, 35).round().astype(np.uint8).reshape(5, 7)
    path = written(encoded(Image.fromarray(np.stack([GREY, alpha], -1))))
    assert np.array_equal(read_image(path, 1)[..., 0], over_white(GREY, alpha))
    assert np.array_equal(read_image(path, 3), np.stack([over_white(GREY, alpha)] * 3, -1))


@pytest.mark.parametrize(
    ("transparency", "alphas"), [(1, [255, 0, 255]), (bytes([255, 100, 0]), [255, 100, 0])]
)
def test_a_palette_with_transparency_lies_on_white(written, transparency, alphas):
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    palette = np.array([[10, 20, 30], [0, 0, 0], [90, 0, 200]], np.uint8)
    image = Image.frombytes("P", (3, 2), indices.tobytes())
    image.putpalette(palette.tobytes())
    expected = over_white(palette, np.array(alphas)[:, None])[indices]
    assert np.array_equal(read_image(written(encoded(image, transparency=transparency)), 3), expected)
    if isinstance(transparency, int):
        assert np.array_equal(
            read_image(written(encoded(image, "GIF", transparency=transparency)), 3), expected
        )


@pytest.mark.parametrize(
    ("depth", "row", "key", "expected"),
    [
        (1, [0b01000000], 0, [255, 255]),
        (2, [0b01100000], 1, [255, 170]),
        (4, [0x5F], 5, [255, 255]),
        (4, [0x5A], 10, [85, 255]),
        (8, [7, 8], 7, [255, 8]),
        (16, [3, 232, 4, 0], 1000, [255, 4]),
        (16, [3, 232, 4, 0], 1, [4, 4]),
    ],
)
def test_the_transparent_grey_of_a_png_is_white(written, depth, row, key, expected):
    path = written(png(2, 2, depth, 0, [bytes(row)] * 2, (b"tRNS", struct.pack(">H", key))))
    assert read_image(path, 1)[..., 0].tolist() == [expected] * 2


def test_the_transparent_colour_of_a_png_is_white(written):
    key = (b"tRNS", struct.pack(">3H", 1, 2, 3))
    path = written(png(2, 2, 8, 2, [bytes([1, 2, 3, 1, 2, 4])] * 2, key))
    assert read_image(path, 3)[1].tolist() == [[255, 255, 255], [1, 2, 4]]
    key = (b"tRNS", struct.pack(">3H", 0x1234, 0, 0))
    path = written(png(2, 2, 16, 2, [struct.pack(">6H", 0x1234, 0, 0, 0x3400, 0, 0)] * 2, key))
    assert read_image(path, 3)[1].tolist() == [[255, 255, 255], [0x34, 0, 0]]


# Orientation


# EXIF names the sides of the picture where the file's first row and first column lie.
STORED = {
    1: lambda picture: picture,  # top, left
    2: lambda picture: picture[:, ::-1],  # top, right
    3: lambda picture: picture[::-1, ::-1],  # bottom, right
    4: lambda picture: picture[::-1],  # bottom, left
    5: lambda picture: picture.swapaxes(0, 1),  # left, top
    6: lambda picture: picture[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda picture: picture[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda picture: picture[::-1].swapaxes(0, 1),  # left, bottom
}


def exif(orientation):
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = orientation
    return block


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("options", [{"kind": "PNG"}, {"kind": "WEBP", "lossless": True}])
def test_the_picture_is_upright(written, orientation, options):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](COLOUR)))
    path = written(encoded(stored, exif=exif(orientation), **options))
    assert np.array_equal(read_image(path, 3), COLOUR)


@pytest.mark.parametrize("orientation", STORED)
def test_a_jpeg_is_upright(written, orientation):
    picture = np.zeros((16, 32), np.uint8)
    picture[:8, :8] = 255
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](picture)))
    path = written(encoded(stored, "JPEG", quality=100, exif=exif(orientation)))
    assert np.abs(read_image(path, 1)[..., 0].astype(int) - picture).max() <= 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_a_picture_of_any_mode_is_upright(written, mode):
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](GREY))).convert(mode)
    turned = read_image(written(encoded(stored, exif=exif(6))), 3)
    plain = read_image(written(encoded(stored)), 3)
    assert plain.shape == (7, 5, 3)
    assert np.array_equal(STORED[6](turned), plain)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_turns_nothing(written, orientation):
    path = written(encoded(Image.fromarray(COLOUR), exif=exif(orientation)))
    assert np.array_equal(read_image(path, 3), COLOUR)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_damaged_exif_block_is_ignored(written, kind):
    block = exif(6).tobytes()
    lossless = {"lossless": True} if kind == "WEBP" else {}
    expected = read_image(written(encoded(Image.fromarray(COLOUR), kind, **lossless)), 3)
    blocks = [block[:n] for n in range(7, len(block) - 6)]
    blocks += [block[:6] + b"??" + block[8:], b"Exif\0\0" + b"\xff" * 40, block[:14] + b"\xff" * 12]
    for damaged in blocks:
        path = written(encoded(Image.fromarray(COLOUR), kind, exif=damaged, **lossless))
        assert np.array_equal(read_image(path, 3), expected), damaged


# Refused files


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "no.png"
    with pytest.raises(InputError) as error:
        read_image(path, 3)
    assert without_path(error.value, path) == "no such file"


def test_a_folder_is_named(tmp_path):
    with pytest.raises(InputError) as error:
        read_image(tmp_path, 3)
    assert without_path(error.value, tmp_path) == "a folder, not an image file"


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "file/inside"])
def test_a_path_that_cannot_be_opened_is_named(tmp_path, name):
    (tmp_path / "file").touch()
    path = tmp_path / name
    with pytest.raises(InputError) as error:
        read_image(path, 3)
    assert without_path(error.value, path).startswith("can't be opened (")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(InputError) as error:
        read_image(path, 3)
    assert without_path(error.value, path) == "not a regular file"


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x89PN", b"II*\0" + b"\0" * 40, b"RIFF1234WAVEfmt "])
def test_what_is_no_image_is_told_the_formats(refused, content):
    assert refused(content) == "not an image of a format that is read (PNG, JPEG, BMP, GIF or WebP)"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP"])
def test_a_truncated_file_is_refused(refused, kind):
    content = encoded(Image.effect_noise((40, 30), 90), kind)
    for length in (16, 30, len(content) // 4, len(content) // 2, len(content) * 9 // 10):
        reason = refused(content[:length])
        assert reason.upper().startswith(f"TRUNCATED OR DAMAGED {kind} (")
        assert "cannot identify" not in reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OSError("two\nlines\n"), "two lines"), (EOFError(), "EOFError"), (KeyError(5), "5")],
)
def test_the_reason_is_one_line_whatever_the_decoder_raises(refused, monkeypatch, error, reason):
    def fail(_):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    assert refused(encoded(Image.fromarray(COLOUR), "BMP")) == f"truncated or damaged BMP ({reason})"


def test_any_length_in_its_header_makes_a_webp(refused):
    for length in range(256):
        content = b"RIFF" + bytes([length]) + b"\0\0\0WEBPVP8 "
        assert refused(content) == "truncated or damaged WebP (could not create decoder object)"


def test_damaged_pixels_of_a_png_are_refused(refused):
    content = bytearray(encoded(Image.effect_noise((40, 30), 90)))
    content[len(content) // 2] ^= 255
    assert refused(bytes(content)).startswith("truncated or damaged PNG (")


@pytest.mark.parametrize("side", [10_000, 100_000])
def test_too_many_pixels_are_refused_by_the_header(refused, monkeypatch, side):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("pixels were decoded"))
    reason = refused(png(side, side, 8, 2, [b""]))
    assert reason.endswith("; at most 89478485 are read: make it smaller")
    assert reason.startswith("an image 10000 wide" if side == 10_000 else "more than 178956970 pixels")


def test_the_limit_of_pixels_is_inclusive(written, refused, monkeypatch):
    content = encoded(Image.fromarray(COLOUR))
    monkeypatch.setattr(room, "MAX_PIXELS", 35)
    assert read_image(written(content), 3).shape == (5, 7, 3)
    monkeypatch.setattr(room, "MAX_PIXELS", 34)
    assert refused(content).startswith("an image 7 wide and 5 high: too many pixels; at most ")


@pytest.mark.parametrize(("kind", "limit"), [("PNG", "MAX_BYTES"), ("WebP", "MAX_WEBP_BYTES")])
def test_the_limit_of_bytes_is_inclusive(written, refused, monkeypatch, kind, limit):
    content = encoded(Image.fromarray(COLOUR), kind)
    most = len(content) - 1
    monkeypatch.setattr(room, limit, most + 1)
    assert read_image(written(content), 3).shape == (5, 7, 3)
    monkeypatch.setattr(room, limit, most)
    assert refused(content) == f"{most + 1} bytes of {kind}; at most {most} are read: make it smaller"


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_a_side_of_one_pixel_is_refused(refused, written, size):
    reason = f"an image {size[0]} wide and {size[1]} high; each side needs 2 pixels"
    assert refused(encoded(Image.new("L", size))) == reason
    assert read_image(written(encoded(Image.new("L", (2, 2)))), 1).shape == (2, 2, 1)


# Any bytes


def readable_or_refused(path):
    for channels in (1, 3):
        try:
            image = read_image(path, channels)
        except InputError as error:
            without_path(error, path)
        else:
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert min(image.shape[:2]) >= 2
            assert image.shape[2] == channels


SEEDS = [
    encoded(Image.fromarray(COLOUR), "PNG", exif=exif(6)),
    encoded(Image.fromarray(COLOUR).quantize(8), "PNG", transparency=2),
    png(2, 2, 16, 0, [bytes(4)] * 2, (b"tRNS", b"\0\1")),
    encoded(Image.fromarray(COLOUR), "JPEG", exif=exif(6)),
    encoded(Image.fromarray(COLOUR), "JPEG", progressive=True),
    encoded(
        Image.fromarray(GREY),
        "GIF",
        save_all=True,
        append_images=[Image.fromarray(255 - GREY)],
        transparency=3,
    ),
    encoded(Image.fromarray(COLOUR), "BMP"),
    encoded(Image.fromarray(COLOUR), "WEBP", exif=exif(6)),
]


@settings(max_examples=200)
@given(
    start=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF89a", b"RIFF\0\1\0\0WEBPVP8X"]
    ),
    rest=st.binary(max_size=200),
)
def test_random_bytes_are_refused_or_read(written, start, rest):
    readable_or_refused(written(start + rest))


@settings(max_examples=400)
@given(seed=st.sampled_from(SEEDS), where=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
@example(seed=SEEDS[0], where=0.0, value=0)
def test_a_damaged_byte_is_refused_or_read(written, seed, where, value):
    content = bytearray(seed)
    content[int(where * len(seed))] = value
    readable_or_refused(written(bytes(content)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_file_cut_anywhere_is_refused_or_read(written, seed):
    for length in range(0, len(seed), 1 + len(seed) // 150):
        readable_or_refused(written(seed[:length]))


# Fit


@pytest.mark.parametrize("shape", [(28, 40), (40, 28), (7, 9), (1, 1), (16, 16)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(16, 16), (8, 12)])
def test_any_image_fits_any_size_and_a_constant_stays_one(shape, channels, size):
    image = np.full((*shape, channels), 255, np.uint8)
    image[..., 0] = 7
    for cover in (None, (16, 18)):
        fitted = fit(image, size, cover)
        assert fitted.shape == (*size, channels)
        assert fitted.dtype == np.uint8
        assert np.all(fitted == image[0, 0])


def test_the_centre_is_kept():
    image = np.zeros((4, 12, 1), np.uint8)
    image[:, 4:8] = 200
    assert np.all(fit(image, (4, 4)) == 200)


def test_an_image_that_has_the_size_is_untouched():
    assert fit(COLOUR, (5, 7)) is COLOUR
    assert fit(COLOUR, (5, 7), (10, 14)) is COLOUR


@pytest.mark.parametrize(
    ("shape", "size", "cover", "scaled", "corner"),
    [
        ((427, 640), (224, 224), (256, 256), (256, 383), (16, 80)),  # 383.7 is cut, 79.5 rounded to even
        ((640, 427), (224, 224), (256, 256), (383, 256), (80, 16)),
        ((427, 640), (227, 227), (256, 256), (256, 383), (14, 78)),  # 14.5
        ((300, 300), (224, 224), (256, 256), (256, 256), (16, 16)),
        ((50, 80), (60, 20), None, (60, 96), (0, 38)),
        ((80, 50), (20, 60), None, (96, 60), (38, 0)),
        ((50, 80), (30, 40), (35, 70), (43, 70), (6, 15)),
    ],
)
def test_sides_and_offsets_are_those_of_torchvision(shape, size, cover, scaled, corner):
    ramp = np.linspace(0, 255, shape[1]) + np.linspace(0, 100, shape[0])[:, None]
    image = np.stack([ramp % 256, ramp // 2, 255 - ramp / 2], -1).astype(np.uint8)
    (top, left), (height, width) = corner, size
    whole = Image.fromarray(image).resize(scaled[::-1], Image.Resampling.BILINEAR)
    expected = np.asarray(whole)[top : top + height, left : left + width]
    assert np.array_equal(fit(image, size, cover), expected)


def test_half_the_size_is_about_the_mean_of_blocks():
    image = np.add.outer(np.arange(0, 64, 2), np.arange(0, 160, 5)).astype(np.uint8)
    means = image.reshape(16, 2, 16, 2).mean((1, 3))
    fitted = fit(image[..., None], (16, 16))[..., 0]
    assert np.abs(fitted - means)[1:-1, 1:-1].max() <= 0.5
    assert np.abs(fitted - means).max() <= 3


def test_scaling_down_has_no_aliasing():
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(fit(stripes, (16, 16)).astype(int) - 127)[:, 1:-1].max() <= 1


def test_each_argument_changes_the_result():
    image = np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    plain = fit(image, (8, 8))
    assert not np.array_equal(fit(image[::-1], (8, 8)), plain)
    assert fit(image, (8, 9)).shape == (8, 9, 3)
    assert not np.array_equal(fit(image, (8, 8), (10, 10)), plain)
    assert not np.array_equal(fit(image, (8, 8), (10, 20)), fit(image, (8, 8), (10, 10)))
    assert np.array_equal(fit(image, (8, 8), (8, 8)), plain)


@pytest.mark.parametrize("cover", [(7, 8), (8, 7), (7, 9)])
def test_a_cover_below_the_size_is_refused(cover):
    for image in (COLOUR, np.zeros((8, 8, 3), np.uint8)):
        with pytest.raises(ValueError, match=f"covers {cover[0]}x{cover[1]} has no 8x8 inside"):
            fit(image, (8, 8), cover)


def test_of_a_very_long_strip_only_the_middle_is_computed(monkeypatch):
    strip = np.zeros((2, 4000, 1), np.uint8)
    strip[:, 1998:2002] = 200
    sizes = []
    resize = Image.Image.resize

    def watched(self, size, *arguments):
        sizes.append(size)
        return resize(self, size, *arguments)

    monkeypatch.setattr(Image.Image, "resize", watched)
    assert np.all(fit(strip, (224, 224)) == 200)
    assert np.all(fit(strip.swapaxes(0, 1), (224, 224)) == 200)
    assert sizes == [(224, 224), (224, 224)]


@pytest.mark.parametrize("shape", [(43, 64), (64, 43), (30, 200)])
def test_the_middle_alone_is_the_middle_of_the_whole(monkeypatch, shape):
    image = np.random.default_rng(4).integers(0, 256, (*shape, 3), dtype=np.uint8)
    whole = fit(image, (24, 20), (32, 32))
    monkeypatch.setattr(room, "MAX_PIXELS", 0)
    assert np.abs(fit(image, (24, 20), (32, 32)).astype(int) - whole).max() <= 1
