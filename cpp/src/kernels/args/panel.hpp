// Panels of pixels: what a plain convolution multiplies, and what its transpose adds up. A panel has a few blocks of
// lanes, each a pixel; a run is a piece of one row of pixels in it.
#pragma once

#include <stdint.h>

namespace convlens {

struct PanelRun {
    int64_t lane, count;
    int64_t offset;  // of its first pixel in a plane of the image
};

// For every channel c and tap (r, s), in this order, one row of `width` lanes of the panel, and for every run the
// pixels
//     image[c channel_step + r row_step + s column_step + run.offset + i stride] <-> row[run.lane + i].
template <class Real>
struct Panel {
    Real* panel;
    int64_t width;
    bool spare = false;  // the last block of a row is nobody's
    bool far = false;    // the image is further than a cache
    const PanelRun* runs;
    int64_t n_runs;
    int64_t channels, R, S;
    int64_t channel_step, row_step, column_step, stride;
    Real* image;            // read by pack_panel, added to by add_panel
    const Real* image_end;  // pack_panel reads nothing beyond; add_panel may add zeros a block beyond a run
};

}  // namespace convlens
