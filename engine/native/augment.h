/* The augmentations of one image at a time, which stays in the first cache. Included once a level.

   What each operation computes is written in engine/augment/NAME.py; here it is the same up to rounding. Images are
   worked on as three planes of floats in [0, 1]. */

#define LUMA(r, g, b) (0.2989f * (r) + 0.587f * (g) + 0.114f * (b))

/* Samples an image (3, h, w) of bytes at the places that the geometry takes the size x size pixels of the result back
   to, the last operation first. p: the parameters of the image. */
static void LEVELLED(sample)(const struct augmentation *how, const float *p, const uint8_t *restrict image, int64_t h,
                             int64_t w, struct planes *room)
{
    int64_t size = how->size, area = h * w;
    float *restrict flat = room->source;
    for (int64_t k = 0; k < 3 * area; k++)
        flat[k] = (float)image[k] / 255.0f;
    if (how->geometry[0] < 0 && h == size && w == size) {
        memcpy(room->values, flat, (size_t)(3 * area) * sizeof(float));
        return;
    }
    int last = 0;
    while (how->geometry[last] >= 0)
        last++;
    float *restrict xs = room->x, *restrict ys = room->y, *restrict weights = room->weight;
    int32_t *restrict places = room->places;
    for (int64_t i = 0; i < size; i++) {
        float height = (float)size, width = (float)size; /* of the frame that x and y are in */
        for (int64_t j = 0; j < size; j++) {
            xs[j] = (float)j;
            ys[j] = (float)i;
            weights[j] = 1.0f;
        }
        for (int step = last - 1; step >= 0; step--)
            if (how->geometry[step] == FLIP) {
                if (p[FLIPPED] != 0.0f)
                    for (int64_t j = 0; j < size; j++)
                        xs[j] = width - 1.0f - xs[j];
            } else if (how->geometry[step] == ROTATION) {
                float cx = (width - 1.0f) / 2.0f, cy = (height - 1.0f) / 2.0f, cosine = p[COSINE], sine = p[SINE];
                float reach_x = (width + 1.0f) / 2.0f, reach_y = (height + 1.0f) / 2.0f;
                for (int64_t j = 0; j < size; j++) {
                    float x = xs[j] - cx, y = ys[j] - cy;
                    float u = cosine * x - sine * y, v = sine * x + cosine * y;
                    float inside = CLAMP(reach_x - fabsf(u), 0.0f, 1.0f) * CLAMP(reach_y - fabsf(v), 0.0f, 1.0f);
                    weights[j] *= inside * inside;
                    xs[j] = u + cx;
                    ys[j] = v + cy;
                }
            } else { /* CROP */
                float top = p[TOP], left = p[LEFT], box_h = p[HEIGHT], box_w = p[WIDTH];
                float times_x = box_w / (float)size, times_y = box_h / (float)size;
                for (int64_t j = 0; j < size; j++) {
                    float x = (xs[j] + 0.5f) * times_x + (left - 0.5f), y = (ys[j] + 0.5f) * times_y + (top - 0.5f);
                    xs[j] = CLAMP(x, left, left + (box_w - 1.0f));
                    ys[j] = CLAMP(y, top, top + (box_h - 1.0f));
                }
                height = (float)h;
                width = (float)w;
            }
        /* Into the image, where no crop has done it; then drawn in to the outermost pixels. */
        float to_x = (float)w / width, to_y = (float)h / height;
        for (int64_t j = 0; j < size; j++) {
            float x = CLAMP((xs[j] + 0.5f) * to_x - 0.5f, 0.0f, (float)(w - 1));
            float y = CLAMP((ys[j] + 0.5f) * to_y - 0.5f, 0.0f, (float)(h - 1));
            float x0 = MIN((float)(int32_t)x, (float)(w > 1 ? w - 2 : 0));
            float y0 = MIN((float)(int32_t)y, (float)(h > 1 ? h - 2 : 0));
            xs[j] = x - x0;
            ys[j] = y - y0;
            places[j] = (int32_t)y0 * (int32_t)w + (int32_t)x0;
        }
        int64_t right = w > 1 ? 1 : 0, down = h > 1 ? w : 0;
        for (int64_t plane = 0; plane < 3; plane++) {
            const float *restrict from = flat + plane * area;
            float *restrict to = room->values + (plane * size + i) * size;
            for (int64_t j = 0; j < size; j++) {
                const float *at = from + places[j];
                float upper = at[0] + xs[j] * (at[right] - at[0]);
                float lower = at[down] + xs[j] * (at[down + right] - at[down]);
                to[j] = weights[j] * (upper + ys[j] * (lower - upper));
            }
        }
    }
}

/* Separable Gaussian with reflected borders, in place. taps: weights of the distances 0 to half. */
static void LEVELLED(blur)(float *restrict values, int64_t size, float sigma, int half, struct planes *room)
{
    float *restrict taps = room->weight, total = 0.0f;
    for (int k = 0; k <= half; k++) {
        float away = (float)k / sigma;
        taps[k] = expf(-0.5f * away * away);
        total += k ? 2.0f * taps[k] : taps[k];
    }
    for (int k = 0; k <= half; k++)
        taps[k] /= total;
    float *restrict line = room->x; /* of size + 2 * half */
    float *restrict across = room->source;
    for (int64_t plane = 0; plane < 3; plane++) {
        float *restrict at = values + plane * size * size;
        for (int64_t i = 0; i < size; i++) {
            const float *restrict from = at + i * size;
            memcpy(line + half, from, (size_t)size * sizeof(float));
            for (int k = 1; k <= half; k++) {
                line[half - k] = from[k];
                line[half + size - 1 + k] = from[size - 1 - k];
            }
            float *restrict to = across + i * size;
            for (int64_t j = 0; j < size; j++)
                to[j] = taps[0] * line[half + j];
            for (int k = 1; k <= half; k++)
                for (int64_t j = 0; j < size; j++)
                    to[j] += taps[k] * (line[half + j - k] + line[half + j + k]);
        }
        for (int64_t i = 0; i < size; i++) {
            float *restrict to = at + i * size;
            for (int64_t j = 0; j < size; j++)
                to[j] = taps[0] * across[i * size + j];
            for (int k = 1; k <= half; k++) {
                int64_t above = i - k < 0 ? k - i : i - k;
                int64_t below = i + k >= size ? 2 * (size - 1) - (i + k) : i + k;
                const float *restrict a = across + above * size, *restrict b = across + below * size;
                for (int64_t j = 0; j < size; j++)
                    to[j] += taps[k] * (a[j] + b[j]);
            }
        }
    }
}

/* Each channel is the value less the chroma times a trapezoid around the circle; turns is a share of the circle. */
static void LEVELLED(shift_hue)(float *restrict red, float *restrict green, float *restrict blue, int64_t area,
                                float turns)
{
    for (int64_t k = 0; k < area; k++) {
        float r = red[k], g = green[k], b = blue[k];
        float value = MAX(MAX(r, g), b), chroma = value - MIN(MIN(r, g), b);
        float scale = 1.0f / MAX(chroma, 1e-12f);
        float hue = value == r ? (g - b) * scale : value == g ? (b - r) * scale + 2.0f : (r - g) * scale + 4.0f;
        hue += turns * 6.0f;
        /* Where red, green and blue are lowest: cyan, magenta, yellow, in sextants. */
        float away[3] = {(hue - 3.0f) / 6.0f, (hue - 5.0f) / 6.0f, (hue - 1.0f) / 6.0f};
        float out[3];
        for (int l = 0; l < 3; l++) {
            /* To the nearest whole number: what is added leaves no digits for the rest. */
            float nearest = (away[l] + 12582912.0f) - 12582912.0f;
            float weight = CLAMP(2.0f - 6.0f * fabsf(away[l] - nearest), 0.0f, 1.0f);
            out[l] = value - chroma * weight;
        }
        red[k] = out[0];
        green[k] = out[1];
        blue[k] = out[2];
    }
}

static void LEVELLED(jitter)(const struct augmentation *how, float *restrict values, int64_t area, const float *p)
{
    float *restrict red = values, *restrict green = values + area, *restrict blue = values + 2 * area;
    for (int place = 0; place < 4; place++) {
        int kind = (int)p[ORDER + place];
        float factor = p[FACTORS + kind], rest = 1.0f - factor;
        if (kind == 3) {
            if (how->hue)
                LEVELLED(shift_hue)(red, green, blue, area, factor);
            continue;
        }
        if (!how->blends)
            continue;
        float constant = 0.0f, of_gray = kind == 2 ? rest : 0.0f;
        if (kind == 1) {
            float sums[LANES] = {0};
            int64_t k = 0;
            for (; k + LANES <= area; k += LANES)
                for (int l = 0; l < LANES; l++)
                    sums[l] += LUMA(red[k + l], green[k + l], blue[k + l]);
            float sum = 0.0f;
            for (; k < area; k++)
                sum += LUMA(red[k], green[k], blue[k]);
            for (int l = 0; l < LANES; l++)
                sum += sums[l];
            constant = rest * (sum / (float)area);
        }
        for (int64_t k = 0; k < area; k++) {
            float r = red[k], g = green[k], b = blue[k];
            float plus = of_gray * LUMA(r, g, b) + constant;
            red[k] = CLAMP(factor * r + plus, 0.0f, 1.0f);
            green[k] = CLAMP(factor * g + plus, 0.0f, 1.0f);
            blue[k] = CLAMP(factor * b + plus, 0.0f, 1.0f);
        }
    }
}

/* Images of a batch, augmented and normalised, channels last. See moco_augment. */
static int LEVELLED(augment)(const struct augmentation *how, int wide, const uint8_t *images, const int64_t *indices,
                             const float *params, const float *mean, const float *std, void *out, int64_t n,
                             int64_t h, int64_t w)
{
    int64_t size = how->size, area = size * size;
    struct planes room;
    if (get_planes(&room, h, w, size, how->half))
        return -1;
    for (int64_t i = 0; i < n; i++) {
        const float *p = params + i * PARAMS;
        float *restrict values = room.values;
        LEVELLED(sample)(how, p, images + indices[i] * 3 * h * w, h, w, &room);
        for (int step = 0; how->photometry[step] >= 0; step++) {
            int what = how->photometry[step];
            if (what == BLUR && p[BLURRED] != 0.0f)
                LEVELLED(blur)(values, size, p[SIGMA], how->half, &room);
            else if (what == JITTER && p[JITTERED] != 0.0f)
                LEVELLED(jitter)(how, values, area, p);
            else if (what == GRAY && p[GRAYED] != 0.0f)
                for (int64_t k = 0; k < area; k++)
                    values[k] = values[area + k] = values[2 * area + k] =
                        LUMA(values[k], values[area + k], values[2 * area + k]);
        }
        for (int64_t plane = 0; plane < 3; plane++) {
            float *restrict at = values + plane * area, m = mean[plane], s = std[plane];
            for (int64_t k = 0; k < area; k++)
                at[k] = (at[k] - m) / s;
        }
        if (wide) {
            float *restrict to = (float *)out + i * 3 * area;
            for (int64_t k = 0; k < area; k++)
                for (int64_t plane = 0; plane < 3; plane++)
                    to[3 * k + plane] = values[plane * area + k];
        } else {
            uint16_t *restrict narrow = (uint16_t *)(void *)room.source, *restrict to = (uint16_t *)out + i * 3 * area;
            int64_t k = 0;
            for (; k + LANES <= 3 * area; k += LANES)
                put_bfloat16(narrow + k, get_float32(values + k, LANES), LANES);
            if (k < 3 * area)
                put_bfloat16(narrow + k, get_float32(values + k, 3 * area - k), 3 * area - k);
            for (k = 0; k < area; k++)
                for (int64_t plane = 0; plane < 3; plane++)
                    to[3 * k + plane] = narrow[plane * area + k];
        }
    }
    free_planes(&room);
    return 0;
}
