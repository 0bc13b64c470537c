/* amx.h: float32 products on AMX, the matrix unit of Intel's server chips, which knows bfloat16.
 *
 * One of its instructions multiplies a 16 x 32 by a 32 x 16 tile in 16 cycles: 512 multiply-adds in
 * a cycle, where AVX-512 does 32. But a bfloat16 is the upper half of a float32: 8 bits of
 * precision instead of 24. So cut each number into three,
 *
 *     x = high + middle + low,    high = bfloat16(x),  middle = bfloat16(x - high)
 *
 * where `low`, the rest, has 8 bits at most, so the sum is exact. |middle| <= 2^-8 |x| and |low| <=
 * 2^-16 |x|. Of the nine terms of a product, three are together below 2^-23 |a b|, the weight of
 * the last bit of a float32, and are left out. Six remain:
 *
 *     a b = ah bh + (ah bm + am bh) + (ah bl + am bm + al bh) + [am bl + al bm + al bl]
 *
 * (Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For
 * Higher-Precision Computations", sec. II.) AMX adds them in float32, with fewer roundings than a
 * chain of FMAs, so results are at least as exact. 512 / 6 = 85 multiply-adds in a cycle are left.
 *
 * Two limits. AMX takes numbers below 2^-126 for 0, so an error may reach 2^-126 times the largest
 * factor. And the pieces of infinity are NaN (inf - inf): matmul.c multiplies panels with numbers
 * beyond LARGEST, which might also overflow in parts, by FMAs. */
#pragma once
#include <immintrin.h>
#include <string.h>
#include "tile.h"

/* A tile register has 16 rows of 64 bytes: 16 x 16 floats, or 16 x 16 pairs of bfloat16. The
 * instruction multiplies pairs: C[i][j] += sum over l < 16 of the dot product of A[i][l] and
 * B[l][j]. We pair elements l and l + 16 of 32 along K, because that needs no shuffles. Three
 * pair_tiles (high, middle and low) are 16 x 32 numbers of A, or 32 x 16 of B. */
enum { SIDE = 16, DEPTH = 2 * SIDE };
typedef struct { uint32_t pairs[SIDE][SIDE]; } pair_tile;

/* A panel is 2 SIDE rows of A or columns of B. For each DEPTH numbers along K, it has a chunk: two
 * tiles of high pieces, two of middle, two of low. */
enum { PANEL = 2 * SIDE, HIGH = 0, MIDDLE = 2, LOW = 4, CHUNK = 6 };

typedef struct { __m512 row[SIDE]; } block; /* 16 x 16 floats in registers */

/* x's and y's elements in turn, from their low or their high halves. */
static inline __m512 interleaved(__m512 x, __m512 y, int high) {
    __m512i turn = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return _mm512_permutex2var_ps(x, _mm512_add_epi32(turn, _mm512_set1_epi32(8 * high)), y);
}

/* Four rounds of interleaving: see transpose_4x4 in tile.h, which needs two. */
static inline __attribute__((always_inline)) block transposed_block(block x) {
    #pragma GCC unroll 4
    for (int round = 0; round < 4; round++) {
        block y;
        #pragma GCC unroll 8
        for (int i = 0; i < SIDE / 2; i++) {
            y.row[2 * i] = interleaved(x.row[i], x.row[i + SIDE / 2], 0);
            y.row[2 * i + 1] = interleaved(x.row[i], x.row[i + SIDE / 2], 1);
        }
        x = y;
    }
    return x;
}

/* 16 x 16 numbers of X, with zeros beyond its rows and columns. A stride must be 1. */
static inline __attribute__((always_inline)) block
read_block(matrix X, isize rows, isize columns) {
    int transpose = X.column != 1;
    isize stride = transpose ? X.column : X.row, n = transpose ? columns : rows;
    isize width = transpose ? rows : columns;
    unsigned lanes = width >= SIDE ? 0xffff : width > 0 ? (1u << width) - 1 : 0;
    block x;
    #pragma GCC unroll 16
    for (int i = 0; i < SIDE; i++) /* a load of no lanes touches no memory */
        x.row[i] = _mm512_maskz_loadu_ps(i < n ? lanes : 0, X.data + i * stride);
    return transpose ? transposed_block(x) : x;
}

/* x with half of the last bit of a bfloat16 added: the upper half is bfloat16(x). */
static inline __m512i rounded(__m512 x) {
    return _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
}

/* The upper half of each element. */
static inline __m512i upper(__m512i x) {
    return _mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000));
}

/* Pairs of upper halves, x's below y's. */
static inline __m512i paired(__m512i x, __m512i y) {
    return _mm512_or_si512(_mm512_srli_epi32(x, 16), upper(y));
}

/* Cut x and y into three pieces, and pair x's with y's: tiles[HIGH], [MIDDLE] and [LOW]. */
static inline __attribute__((always_inline)) void split(block x, block y, pair_tile *tiles) {
    #pragma GCC unroll 16
    for (int i = 0; i < SIDE; i++) {
        __m512 a = x.row[i], b = y.row[i];
        #pragma GCC unroll 2
        for (int piece = HIGH; piece < LOW; piece += 2) {
            __m512i a_piece = rounded(a), b_piece = rounded(b);
            _mm512_store_si512(tiles[piece].pairs[i], paired(a_piece, b_piece));
            a -= _mm512_castsi512_ps(upper(a_piece));
            b -= _mm512_castsi512_ps(upper(b_piece));
        }
        __m512i low = paired(_mm512_castps_si512(a), _mm512_castps_si512(b));
        _mm512_store_si512(tiles[LOW].pairs[i], low);
    }
}

/* The larger of `most` and the bits of |x|, twice: numbers, infinities and NaN in this order. */
static inline __attribute__((always_inline)) __m512i larger(__m512i most, block x) {
    #pragma GCC unroll 16
    for (int i = 0; i < SIDE; i++)
        most = _mm512_max_epu32(most, _mm512_slli_epi32(_mm512_castps_si512(x.row[i]), 1));
    return most;
}

/* Prefetch 16 x 16 numbers of a transposed matrix: 16 short rows, far apart, which the hardware
 * doesn't predict. The gradient of GPT-2's head is 1.15 times as fast. */
static inline void prefetch_block(matrix X) {
    for (isize k = 0; k < SIDE; k++)
        __builtin_prefetch(X.data + k * X.column, 0, 2);
}

/* Split up to PANEL rows and K columns of A -> whether all numbers are below LARGEST, 2^59: then no
 * sum of a few hundred products overflows. For columns of B, pass its transpose. */
static inline int split_panel(matrix X, isize width, isize K, int is_B, pair_tile *panel) {
    const uint32_t LARGEST = (127u + 59u) << 24; /* twice the bits: above 24 is the exponent */
    __m512i most = _mm512_setzero_si512();
    for (isize k = 0; k < K; k += DEPTH, panel += CHUNK)
        for (isize half = 0; half < 2; half++) {
            isize i = half * SIDE, rows = width - i;
            matrix x = part(X, i, k), y = part(X, i, k + SIDE);
            block a, b;
            if (is_B) { /* tiles of B have K down */
                a = read_block(transposed(x), K - k, rows);
                b = read_block(transposed(y), K - k - SIDE, rows);
            } else {
                if (X.column != 1) { /* of the next panel */
                    prefetch_block(part(x, PANEL, 0));
                    prefetch_block(part(y, PANEL, 0));
                }
                a = read_block(x, rows, K - k);
                b = read_block(y, rows, K - k - SIDE);
            }
            most = larger(larger(most, a), b);
            split(a, b, panel + half);
        }
    return _mm512_cmpge_epu32_mask(most, _mm512_set1_epi32((int)LARGEST)) == 0;
}

/* Give the eight tile registers their shape, 16 rows of 64 bytes. 0 to 3 are a square of C, 2 x 2
 * tiles; 4 and 5 two tiles of A; 6 and 7 two of B. So each tile loaded serves two products. */
static inline void configure_tiles(void) {
    struct { uint8_t palette, start_row, unused[14]; uint16_t bytes[16]; uint8_t rows[16]; } shape;
    memset(&shape, 0, sizeof(shape));
    shape.palette = 1;
    for (int i = 0; i < 8; i++) {
        shape.bytes[i] = 64;
        shape.rows[i] = SIDE;
    }
    _tile_loadconfig(&shape);
}

static inline void load_A(const pair_tile *tiles) {
    _tile_loadd(4, tiles, 64);
    _tile_loadd(5, tiles + 1, 64);
}

static inline void load_B(const pair_tile *tiles) {
    _tile_loadd(6, tiles, 64);
    _tile_loadd(7, tiles + 1, 64);
}

static inline void add_products(void) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* C = start + A B for a panel of A, PANEL x K, and one of B, K x PANEL. The path through the six
 * products, small ones first, changes one factor at each step. */
static inline __attribute__((always_inline)) void
multiply_panels(isize K, const pair_tile *A, const pair_tile *B, matrix start, matrix C) {
    __asm__ volatile("" ::: "memory"); /* GCC doesn't know that _tile_loadd reads memory */
    isize row = start.row * (isize)sizeof(float);
    _tile_loadd(0, part(start, 0, 0).data, row);
    _tile_loadd(1, part(start, 0, SIDE).data, row);
    _tile_loadd(2, part(start, SIDE, 0).data, row);
    _tile_loadd(3, part(start, SIDE, SIDE).data, row);
    for (isize k = 0; k < K; k += DEPTH, A += CHUNK, B += CHUNK) {
        load_A(A + LOW);
        load_B(B + HIGH);
        add_products();
        load_A(A + MIDDLE);
        add_products();
        load_B(B + MIDDLE);
        add_products();
        load_A(A + HIGH);
        add_products();
        load_B(B + LOW);
        add_products();
        load_B(B + HIGH);
        add_products();
    }
    row = C.row * (isize)sizeof(float);
    _tile_stored(0, part(C, 0, 0).data, row);
    _tile_stored(1, part(C, 0, SIDE).data, row);
    _tile_stored(2, part(C, SIDE, 0).data, row);
    _tile_stored(3, part(C, SIDE, SIDE).data, row);
}

/* The same at the edge of C, where the square has fewer rows or columns. */
static inline void multiply_panels_at_edge(isize rows, isize columns, isize K, const pair_tile *A,
                                           const pair_tile *B, matrix start, matrix C) {
    float buffer[PANEL * PANEL] = {0};
    matrix square = {buffer, PANEL, 1};
    for (isize i = 0; i < rows; i++)
        for (isize j = 0; j < columns; j++)
            buffer[i * PANEL + j] = *part(start, i, j).data;
    multiply_panels(K, A, B, square, square);
    for (isize i = 0; i < rows; i++)
        memcpy(C.data + i * C.row, buffer + i * PANEL, columns * sizeof(float));
}
