// Every kernel's arguments. Append one line a family; headers here hold plain structs and <stdint.h> only.
#pragma once
#include "kernels/args/conv_tile.hpp"
#include "kernels/args/depthwise.hpp"
#include "kernels/args/depthwise_plane.hpp"
#include "kernels/args/dropout.hpp"
#include "kernels/args/elementwise.hpp"
#include "kernels/args/pack.hpp"
#include "kernels/args/panel.hpp"
#include "kernels/args/pool.hpp"
#include "kernels/args/reduce.hpp"
#include "kernels/args/reorder.hpp"
#include "kernels/args/resize.hpp"
#include "kernels/args/softmax.hpp"
