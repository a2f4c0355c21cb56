#pragma once

#include <stdint.h>

namespace convlens {

// A window of pooling and the plane it slides over. Positions outside the plane are left out, so no halo is read.
struct PoolWindow {
    int64_t height, width;  // of the plane x
    int64_t kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left, dilation_height,
        dilation_width;
    // For an average that counts padding: how far the padded plane reaches. Otherwise height and width.
    int64_t counted_top, counted_left, counted_bottom, counted_right;
};

// Columns [column0, column1) of output row `row` of one channel block.
template <class Real>
struct PoolArgs {
    const PoolWindow* window;
    const Real* x;         // pixel (0, 0) of the block's plane
    int64_t x_row_stride;  // elements
    Real* y;               // pixel (row, 0)
    uint8_t* offset;       // pixel (row, 0): the winner's ky * kernel_width + kx; may be null
    int64_t row, column0, column1;
};

// Row `row` of dx of one channel block, all columns.
template <class Real>
struct PoolGradArgs {
    const PoolWindow* window;
    const Real* dy;         // pixel (0, 0) of the block's plane
    int64_t dy_row_stride;  // elements
    const uint8_t* offset;  // pixel (0, 0); null for an average
    int64_t dy_height, dy_width;
    Real* dx;  // pixel (row, 0)
    int64_t row;
};

// Rows [row0, row1) of y, counted through plain planes of `rows`. Reads stay below `x_end`, whatever lies between them.
template <class Real>
struct PoolPlaneArgs {
    const PoolWindow* window;
    const Real* x;  // pixel (0, 0) of the first plane
    int64_t x_row_stride, x_plane_stride;
    const Real* x_end;
    Real* y;  // pixel (0, 0) of the first plane
    int64_t y_row_stride, y_plane_stride;
    uint8_t* offset;  // pixel (0, 0), rows and planes adjacent; may be null
    int64_t rows, columns, row0, row1;
};

// Rows [row0, row1) of dx, counted through plain planes.
template <class Real>
struct PoolPlaneGradArgs {
    const PoolWindow* window;
    const Real* dy;  // pixel (0, 0) of the first plane
    int64_t dy_row_stride, dy_plane_stride;
    const uint8_t* offset;  // pixel (0, 0), rows and planes adjacent; null for an average
    int64_t windows;        // how many of them, and of dy, may be read
    int64_t dy_height, dy_width;
    Real* dx;  // pixel (0, 0) of the first plane
    int64_t dx_row_stride, dx_plane_stride;
    int64_t row0, row1;
};

// offset[i][j] = the place in window (i, j) of indices[i][j], row * width + column of its plane, for rows [row0, row1)
// of windows counted through adjacent planes. Written up to a vector beyond them.
template <class Real>
struct PoolPlacesArgs {
    const PoolWindow* window;
    const int64_t* indices;  // of row 0
    int64_t windows;         // how many of them may be read
    uint8_t* offset;         // of row 0
    int64_t rows, columns;   // a plane's
    int64_t row0, row1;
    bool* wrong;  // set when an index is no position of its window
};

}  // namespace convlens
