/* Both dtypes of one level of instructions: LEVEL is its name, LANES the floats in a register. */

#define LEVELLED(name) JOIN(name, LEVEL)
#define floats LEVELLED(floats)
#define words LEVELLED(words)
#define unsigned_words LEVELLED(unsigned_words)
#define halves LEVELLED(halves)
#define bytes LEVELLED(bytes)
#define get_float32 LEVELLED(get_float32)
#define put_float32 LEVELLED(put_float32)
#define get_bfloat16 LEVELLED(get_bfloat16)
#define put_bfloat16 LEVELLED(put_bfloat16)
#define choose LEVELLED(choose)
#define where_at_most LEVELLED(where_at_most)
#define words_where_at_most LEVELLED(words_where_at_most)
#define where_below LEVELLED(where_below)
#define where_equal LEVELLED(where_equal)
#define get_bytes LEVELLED(get_bytes)
#define put_bytes LEVELLED(put_bytes)
#define relu_of LEVELLED(relu_of)
#define take_larger LEVELLED(take_larger)
#include "vectors.h"
#include "random.h"
#include "augment.h"
#ifdef PAIR_PRODUCTS
#define exponential LEVELLED(exponential)
#include "dictionary.h"
#undef exponential
#include "convolution.h"
#endif

#define NAME(name) JOIN(JOIN(name, float32), LEVEL)
#define VALUE float
#define GET get_float32
#define PUT put_float32
#include "block.h"
#undef NAME
#undef VALUE
#undef GET
#undef PUT

#define NAME(name) JOIN(JOIN(name, bfloat16), LEVEL)
#define VALUE uint16_t
#define GET get_bfloat16
#define PUT put_bfloat16
#include "block.h"
#undef NAME
#undef VALUE
#undef GET
#undef PUT
#undef floats
#undef words
#undef unsigned_words
#undef halves
#undef bytes
#undef get_float32
#undef put_float32
#undef get_bfloat16
#undef put_bfloat16
#undef choose
#undef where_at_most
#undef words_where_at_most
#undef where_below
#undef where_equal
#undef get_bytes
#undef put_bytes
#undef relu_of
#undef take_larger
#undef LEVELLED
