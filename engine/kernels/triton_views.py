"""The augmentations of a view, from the bytes of an image to normalised values: one kernel.

A program makes one view, which stays in its registers as three vectors of TILE values, a pixel for
each; those behind the last pixel repeat others and are not stored. Its parameters are made here of
the uniform numbers of the view: columns 0-37, as ``engine.augment.augmentation`` assigns them. What
an operation computes is written in ``engine/augment/NAME.py``. Here it is the same up to rounding,
but the box of a crop is that box: it is whole pixels, so its arithmetic has the roundings of torch.
For these a launch turns the fusing of products and sums off; where it is wanted, it is written.

``table`` is float32 (3, 38). For a share, its column has ``p`` in the first row; for a number in a
range, ``high - low`` and ``low`` in the first two. The third row has the central box (top, left,
height, width), the means of the channels, and the inverses of their standard deviations.
"""

# ruff: noqa: SIM102 - an if on a constant is decided by the compiler, the one inside by the card
# Triton reads annotations of parameters as objects: no "from __future__ import annotations".

import triton
import triton.language as tl
from triton.language.extra import libdevice

COLUMNS = tl.constexpr(38)
TRIES = tl.constexpr(10)

# Of the operations, two bits each: in ``GEOMETRY`` the last one is the lowest, in ``PHOTOMETRY``
# the first one.
CROP, ROTATION, FLIP = tl.constexpr(1), tl.constexpr(2), tl.constexpr(3)
BLUR, JITTER, GRAY = tl.constexpr(1), tl.constexpr(2), tl.constexpr(3)

CONTRAST, SATURATION, HUE = tl.constexpr(1), tl.constexpr(2), tl.constexpr(3)  # BRIGHTNESS is 0


@triton.jit
def drawn(mine, table, column):
    """Whether an operation was drawn for this view."""
    return tl.load(mine + column) < tl.load(table + column)


@triton.jit
def between(mine, table, column):
    """This view's number in the range of a column."""
    return tl.load(mine + column) * tl.load(table + column) + tl.load(table + COLUMNS + column)


@triton.jit
def whole(value):
    """The nearest whole number, of two the even one; of values below 2**22."""
    return (value + 12582912.0) - 12582912.0  # 1.5 * 2**23: its unit in the last place is 1


@triton.jit
def clamp(value, low, high):
    """``value`` where it lies in a range, else the nearer end."""
    return tl.minimum(tl.maximum(value, low), high)


@triton.jit
def luma(r, g, b):
    """The gray values."""
    return tl.fma(b, 0.114, tl.fma(g, 0.587, r * 0.2989))


@triton.jit
def crop_box(mine, table, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, PRECISE: tl.constexpr):
    """Top, left, height and width of the crop: the first of ten candidates that fits."""
    lane = tl.arange(0, 16)
    column = tl.minimum(lane, TRIES - 1)
    area = between(mine, table, column)
    logarithm = between(mine, table, TRIES + column)
    # Of torch's operations it is this one that a box may hang on by its last bit.
    ratio = libdevice.exp(logarithm) if PRECISE else tl.exp(logarithm)
    root = tl.sqrt_rn(area * (1.0 * HEIGHT * WIDTH))
    stretch = tl.sqrt_rn(ratio)
    w, h = whole(root * stretch), whole(tl.div_rn(root, stretch))
    fits = (w > 0.0) & (w <= WIDTH) & (h > 0.0) & (h <= HEIGHT)
    first = tl.min(tl.where(fits, lane, 16), 0)
    w = tl.sum(tl.where(lane == first, w, 0.0), 0)
    h = tl.sum(tl.where(lane == first, h, 0.0), 0)
    top = tl.minimum(tl.floor(tl.load(mine + 26) * (HEIGHT - h + 1.0)), HEIGHT - h)
    left = tl.minimum(tl.floor(tl.load(mine + 27) * (WIDTH - w + 1.0)), WIDTH - w)
    central = table + 2 * COLUMNS
    found = first < 16
    top = tl.where(found, top, tl.load(central))
    left = tl.where(found, left, tl.load(central + 1))
    h = tl.where(found, h, tl.load(central + 2))
    w = tl.where(found, w, tl.load(central + 3))
    applied = drawn(mine, table, 20)
    top, left = tl.where(applied, top, 0.0), tl.where(applied, left, 0.0)
    return top, left, tl.where(applied, h, 1.0 * HEIGHT), tl.where(applied, w, 1.0 * WIDTH)


@triton.jit
def inside(offset, length):
    """Share of a sample, at an offset from the centre, that lies in ``length`` pixels."""
    return clamp((length + 1.0) * 0.5 - tl.abs(offset), 0.0, 1.0)


@triton.jit
def bilinear(corner, RIGHT: tl.constexpr, DOWN: tl.constexpr, x, y):
    """Values of a plane of bytes between four neighbours, in [0, 255]."""
    one = tl.load(corner).to(tl.float32)
    other = tl.load(corner + RIGHT).to(tl.float32)
    upper = tl.fma(x, other - one, one)
    one = tl.load(corner + DOWN).to(tl.float32)
    other = tl.load(corner + DOWN + RIGHT).to(tl.float32)
    lower = tl.fma(x, other - one, one)
    return tl.fma(y, lower - upper, upper)


@triton.jit
def sampled(
    image,
    mine,
    table,
    row,
    column,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    SIZE: tl.constexpr,
    GEOMETRY: tl.constexpr,
    PRECISE: tl.constexpr,
):
    """The geometry as one bilinear sampling: three channels in [0, 1]."""
    x, y = column.to(tl.float32), row.to(tl.float32)
    weight = x * 0.0 + 1.0 / 255.0
    frame_height, frame_width = 1.0 * SIZE, 1.0 * SIZE  # that x and y are in
    for step in tl.static_range(3):
        if ((GEOMETRY >> (2 * step)) & 3) == FLIP:
            x = tl.where(drawn(mine, table, 22), frame_width - 1.0 - x, x)
        if ((GEOMETRY >> (2 * step)) & 3) == ROTATION:
            degrees = tl.where(drawn(mine, table, 21), between(mine, table, 28), 0.0)
            radians = degrees * 0.017453292519943295
            cosine, sine = tl.cos(radians), tl.sin(radians)
            centre_x, centre_y = (frame_width - 1.0) * 0.5, (frame_height - 1.0) * 0.5
            u, v = x - centre_x, y - centre_y
            x, y = tl.fma(cosine, u, -(sine * v)), tl.fma(sine, u, cosine * v)
            share = inside(x, frame_width) * inside(y, frame_height)
            weight *= share * share
            x, y = x + centre_x, y + centre_y
        if ((GEOMETRY >> (2 * step)) & 3) == CROP:
            top, left, h, w = crop_box(mine, table, HEIGHT, WIDTH, PRECISE)
            x = tl.fma(x + 0.5, w / SIZE, left - 0.5)
            y = tl.fma(y + 0.5, h / SIZE, top - 0.5)
            x, y = clamp(x, left, left + (w - 1.0)), clamp(y, top, top + (h - 1.0))
            frame_height, frame_width = 1.0 * HEIGHT, 1.0 * WIDTH
    # Into the image, where no crop has done it; then drawn in to the outermost pixels.
    x = clamp(tl.fma(x + 0.5, WIDTH / frame_width, -0.5), 0.0, WIDTH - 1.0)
    y = clamp(tl.fma(y + 0.5, HEIGHT / frame_height, -0.5), 0.0, HEIGHT - 1.0)
    left, top = x.to(tl.int32), y.to(tl.int32)
    if WIDTH > 1:
        left = tl.minimum(left, WIDTH - 2)
    if HEIGHT > 1:
        top = tl.minimum(top, HEIGHT - 2)
    x -= left.to(tl.float32)
    y -= top.to(tl.float32)
    RIGHT: tl.constexpr = 1 if WIDTH > 1 else 0
    DOWN: tl.constexpr = WIDTH if HEIGHT > 1 else 0
    corner = image + top * WIDTH + left
    r = bilinear(corner, RIGHT, DOWN, x, y) * weight
    g = bilinear(corner + HEIGHT * WIDTH, RIGHT, DOWN, x, y) * weight
    b = bilinear(corner + 2 * HEIGHT * WIDTH, RIGHT, DOWN, x, y) * weight
    return r, g, b


@triton.jit
def tap(sigma, k):
    """The weight of a distance in a Gaussian, that of 0 being 1."""
    away = k / sigma
    return tl.exp(-0.5 * (away * away))


@triton.jit
def blurred_along(
    r, g, b, start, along, sigma, SIZE: tl.constexpr, HALF: tl.constexpr, STRIDE: tl.constexpr
):
    """A Gaussian along rows or columns with reflected borders.

    Pixel ``along`` of a line lies at ``start + along * STRIDE``.
    """
    total = tap(sigma, 0)
    for k in range(1, HALF + 1):
        total += 2.0 * tap(sigma, k)
    scale = 1.0 / total
    red, green, blue = r * scale, g * scale, b * scale
    for k in range(1, HALF + 1):
        weight = tap(sigma, k) * scale
        before = start + tl.abs(along - k) * STRIDE
        behind = tl.minimum(along + k, 2 * (SIZE - 1) - along - k)
        behind = start + behind * STRIDE
        red = tl.fma(weight, tl.gather(r, before, 0) + tl.gather(r, behind, 0), red)
        green = tl.fma(weight, tl.gather(g, before, 0) + tl.gather(g, behind, 0), green)
        blue = tl.fma(weight, tl.gather(b, before, 0) + tl.gather(b, behind, 0), blue)
    return red, green, blue


@triton.jit
def trapezoid(value, chroma, hue, centre):
    """A channel of a hue in sextants, from where on the circle it is lowest."""
    away = (hue - centre) * 0.16666667
    away = tl.abs(away - whole(away))
    return tl.fma(-chroma, clamp(tl.fma(away, -6.0, 2.0), 0.0, 1.0), value)


@triton.jit
def hue_shifted(r, g, b, turns):
    """The hue shifted by a share of the colour circle."""
    value = tl.maximum(tl.maximum(r, g), b)
    chroma = value - tl.minimum(tl.minimum(r, g), b)
    # Without chroma the hue is weighted by 0, so any finite value will do.
    scale = 1.0 / tl.maximum(chroma, 1e-12)
    of_others = tl.where(value == g, tl.fma(b - r, scale, 2.0), tl.fma(r - g, scale, 4.0))
    hue = tl.where(value == r, (g - b) * scale, of_others) + turns * 6.0
    red = trapezoid(value, chroma, hue, 3.0)
    return red, trapezoid(value, chroma, hue, 5.0), trapezoid(value, chroma, hue, 1.0)


@triton.jit
def rank(mine, ITS: tl.constexpr):
    """The place of an operation of the jitter: its number's among the four, as they are sorted."""
    own = tl.load(mine + 34 + ITS)
    found = 0
    for other in tl.static_range(4):
        number = tl.load(mine + 34 + other)
        if other < ITS:
            found += tl.where(number <= own, 1, 0)
        else:
            found += tl.where(number < own, 1, 0)
    return found


@triton.jit
def jittered(
    r, g, b, mine, table, there, AREA: tl.constexpr, BLENDS: tl.constexpr, SHIFTS: tl.constexpr
):
    """Brightness, contrast, saturation and hue, in the order of this view."""
    of_brightness, of_contrast, of_saturation = rank(mine, 0), rank(mine, 1), rank(mine, 2)
    for place in range(4):
        kind = tl.where(of_contrast == place, CONTRAST, HUE)
        kind = tl.where(of_saturation == place, SATURATION, kind)
        kind = tl.where(of_brightness == place, 0, kind)
        factor = between(mine, table, 30 + kind)
        if kind == HUE:
            if SHIFTS:
                r, g, b = hue_shifted(r, g, b, factor)
        else:
            if BLENDS:
                gray = luma(r, g, b)
                rest = 1.0 - factor
                constant = 0.0 * rest
                if kind == CONTRAST:
                    constant = rest * (tl.sum(tl.where(there, gray, 0.0), 0) / AREA)
                reference = tl.fma(gray, tl.where(kind == SATURATION, rest, 0.0), constant)
                r = clamp(tl.fma(r, factor, reference), 0.0, 1.0)
                g = clamp(tl.fma(g, factor, reference), 0.0, 1.0)
                b = clamp(tl.fma(b, factor, reference), 0.0, 1.0)
    return r, g, b


@triton.jit
def put(out, value, table, CHANNEL: tl.constexpr, there):
    """Normalises a channel and stores it, the three of a pixel side by side."""
    last = table + 2 * COLUMNS
    value = (value - tl.load(last + 4 + CHANNEL)) * tl.load(last + 7 + CHANNEL)
    tl.store(out + CHANNEL, value.to(out.dtype.element_ty), mask=there)


@triton.jit
def views_kernel(
    images,
    numbers,
    table,
    out,
    count,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    SIZE: tl.constexpr,
    TILE: tl.constexpr,
    GEOMETRY: tl.constexpr,
    PHOTOMETRY: tl.constexpr,
    HALF: tl.constexpr,
    BLENDS: tl.constexpr,
    SHIFTS: tl.constexpr,
    PRECISE: tl.constexpr,
):
    """View ``n`` is of image ``n % count``."""
    view = tl.program_id(0)
    AREA: tl.constexpr = SIZE * SIZE
    place = tl.arange(0, TILE)
    there = place < AREA
    row, column = tl.minimum(place // SIZE, SIZE - 1), place % SIZE
    mine = numbers + view * COLUMNS
    image = images + (view % count).to(tl.int64) * (3 * HEIGHT * WIDTH)
    r, g, b = sampled(image, mine, table, row, column, HEIGHT, WIDTH, SIZE, GEOMETRY, PRECISE)
    for step in tl.static_range(3):
        if ((PHOTOMETRY >> (2 * step)) & 3) == BLUR:
            if drawn(mine, table, 23):
                sigma = between(mine, table, 29)
                r, g, b = blurred_along(r, g, b, row * SIZE, column, sigma, SIZE, HALF, 1)
                r, g, b = blurred_along(r, g, b, column, row, sigma, SIZE, HALF, SIZE)
        if ((PHOTOMETRY >> (2 * step)) & 3) == JITTER:
            if drawn(mine, table, 24):
                r, g, b = jittered(r, g, b, mine, table, there, AREA, BLENDS, SHIFTS)
        if ((PHOTOMETRY >> (2 * step)) & 3) == GRAY:
            if drawn(mine, table, 25):
                r = luma(r, g, b)
                g, b = r, r
    out += view.to(tl.int64) * (3 * AREA) + 3 * place
    put(out, r, table, 0, there)
    put(out, g, table, 1, there)
    put(out, b, table, 2, there)
