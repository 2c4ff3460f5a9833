/* What the augmentations share: their parameters, and the memory in which an image is worked on. */

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CLAMP(value, low, high) MIN(MAX(value, low), high)

enum { CROP, ROTATION, FLIP };      /* geometry */
enum { BLUR, JITTER, GRAY };        /* photometry */
enum {                              /* columns of the parameters of an image */
    TOP, LEFT, HEIGHT, WIDTH,       /* of the crop, in pixels */
    COSINE, SINE,                   /* of the angle */
    FLIPPED,
    BLURRED, SIGMA,
    JITTERED, FACTORS,              /* of brightness, contrast, saturation and hue */
    ORDER = FACTORS + 4,            /* which of these is first, second ... */
    GRAYED = ORDER + 4,
    PARAMS
};

/* The operations in their order, each list ended by -1; half: pixels on each side of the kernel of the blur; blends, hue:
   whether the colour jitter changes brightness, contrast or saturation, and the hue. */
struct augmentation {
    int32_t geometry[4], photometry[4];
    int32_t size, half, blends, hue;
};

struct planes {
    float *source, *values;         /* (3, h, w) and (3, size, size), in [0, 1] */
    float *x, *y, *weight;          /* of a row of the result */
    int32_t *places;
};

static int get_planes(struct planes *room, int64_t h, int64_t w, int64_t size, int64_t half)
{
    int64_t source = 3 * MAX(h * w, size * size), values = 3 * size * size, row = size + 2 * half + 1;
    float *all = malloc((size_t)(source + values + 4 * row) * sizeof(float));
    if (!all)
        return -1;
    float *rows = all + source + values;
    *room = (struct planes){all, all + source, rows, rows + row, rows + 2 * row, (int32_t *)(void *)(rows + 3 * row)};
    return 0;
}

static void free_planes(struct planes *room)
{
    free(room->source);
}
