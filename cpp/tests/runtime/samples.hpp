// Small Programs the runtime's tests share.
#pragma once

#include "ops/pack.hpp"
#include "runtime/builder.hpp"

namespace convlens_tests {

// y = x, through a blocked tensor with a halo in the arena, in two entries that share it: "in" and "out".
inline Builder through_the_arena(int channels, int height, int width, bool float64 = false) {
    using convlens::Layout;
    Builder b(float64);
    const std::int32_t middle = b.arena(Layout::blocked, channels, height, width, true, convlens::DType::real, 1);
    b.instruction("reorder", {b.port("x", false, channels, height, width)}, {middle}, {0, 0, bits_of(0)});
    b.entry("in");
    b.instruction("reorder", {middle}, {b.port("y", true, channels, height, width)}, {0, 0, bits_of(0)});
    b.entry("out");
    return b;
}

// Small, with every op: what the mutation test starts from. A network with a pool and a linear layer, its loss, its
// gradients, an update of a state, packing, and dropout.
inline Builder every_op(bool float64 = false) {
    using convlens::DType;
    using convlens::Layout;
    Builder b(float64);
    const std::int64_t lanes = float64 ? 8 : 16;
    const auto packed = [lanes](int K, int C, int R, int S) {
        return static_cast<int>(convlens::packed_elements(K, C, R, S, 1, lanes));
    };
    const auto activation = [&b](int channels, int height, int width, int halo = 0) {
        return b.arena(Layout::blocked, channels, height, width, true, DType::real, halo);
    };
    const std::vector<std::int64_t> keep = {0, 0, bits_of(0)}, pool = {2, 3, 2, 1, 0, 1, 1, 1};
    const std::vector<std::int64_t> conv = {3, 3, 1, 1, 1, 1, 1, 1, 1};
    const std::vector<std::int64_t> plain_activation = {0, bits_of(0), bits_of(0)}, relu = {1, bits_of(0), bits_of(0)};
    const auto with = [](std::vector<std::int64_t> first, const std::vector<std::int64_t>& rest) {
        first.insert(first.end(), rest.begin(), rest.end());
        return first;
    };
    const auto word = [](int op, int dst, int a, int second) {
        return std::int64_t{op | dst << 8 | a << 16 | second << 24};
    };
    const std::int32_t absent = convlens::kAbsent;

    const std::int32_t x = b.port("x", false, 5, 6, 5), labels = b.port("labels", false, 1, 1, 1, true, DType::int64);
    const std::int32_t loss = b.port("loss", true, 1, 1, 1), up = b.port("up", true, 20, 5, 7);
    const std::int32_t image = activation(5, 6, 5, 1), hidden = activation(20, 6, 5), pooled = activation(20, 3, 5);
    const std::int32_t positive = b.arena(Layout::blocked, 20, 6, 5, true, DType::mask);
    const std::int32_t offset = b.arena(Layout::blocked, 20, 3, 5, true, DType::uint8);
    const std::int32_t mean = activation(20, 3, 5), plain = b.arena(Layout::plain, 20, 3, 5),
                       both = activation(20, 3, 5);
    const std::int32_t pixel = activation(20, 1, 1), logits = activation(10, 1, 1), log_prob = activation(10, 1, 1);
    const std::int32_t w1 = b.weight("conv", Layout::packed, packed(20, 5, 3, 3), 1, 1);
    const std::int32_t b1 = b.weight("bias", Layout::plain, 20, 1, 1);
    const std::int32_t w2 = b.weight("linear", Layout::packed, packed(10, 20, 3, 5), 1, 1);
    b.instruction("reorder", {x}, {image}, keep);
    b.instruction("conv2d", {image, w1, b1, absent}, {hidden, positive}, with(conv, relu));
    const std::int32_t u1 = b.weight("winograd", Layout::packed, 16 * packed(20, 5, 1, 1), 1, 1);
    b.instruction("conv2d_winograd", {image, u1, b1, absent}, {hidden, positive}, with(with(conv, relu), {2}));
    b.instruction("max_pool2d", {hidden}, {pooled, offset}, pool);
    b.instruction("avg_pool2d", {hidden}, {mean}, with(pool, {1, 0, 1}));
    b.instruction("reorder", {mean}, {plain}, keep);
    std::vector<std::int64_t> bands = {1};
    for (const std::int64_t size : {3, 5}) {
        for (std::int64_t i = 0; i < size + 2; ++i) {
            bands.insert(bands.end(), {i * size / (size + 2), 1, bits_of(1)});
        }
    }
    b.instruction("resize", {plain}, {up}, bands);
    b.instruction("reduce", {mean}, {pixel}, {4, 1});
    // both = max(pooled + 0.5 mean, pixel)
    b.instruction("elementwise", {pooled, mean, pixel}, {both},
                  {1, bits_of(0.5), word(0, 0, 0, 0), word(0, 1, 1, 0), word(0, 2, 2, 0), word(1, 3, 0, 0),
                   word(5, 1, 1, 3), word(3, 0, 0, 1), word(7, 0, 0, 2), word(2, 0, 0, 0)});
    b.instruction("linear", {both, w2, absent}, {logits}, plain_activation);
    b.instruction("cross_entropy", {logits, labels}, {loss, log_prob}, {});
    b.instruction("softmax", {logits}, {logits}, {0});
    const std::int32_t joined = activation(25, 3, 5, 1), turned = b.port("turned", true, 7, 5, 3);
    b.instruction("concat", {pooled, mean}, {joined}, {0, 7, 4});
    b.instruction("concat", {pooled}, {b.part(joined, 1, 9)}, {0, 11, 1});
    b.instruction("strided_copy", {plain}, {turned},  // seven channels, columns and rows exchanged, backwards
                  {1, 1, 1, 7, 5, 3, 0, 0, 0, 0, 0, 0,   1,  1,  1,   1,
                   1, 1, 1, 1, 1, 7, 5, 3, 0, 0, 0, -15, -1, -5, 104, bits_of(0)});
    b.entry("forward");

    const std::int32_t dloss = b.port("dloss", false, 1, 1, 1);
    const std::int32_t again = b.port("labels_again", false, 1, 1, 1, true, DType::int64);
    const std::int32_t dw = b.port("dw", true, 20 * 5 * 3 * 3, 1, 1, false), dx = b.port("dx", true, 5, 6, 5);
    const std::int32_t dlogits = activation(10, 1, 1), dboth = activation(20, 3, 5), dhidden = activation(20, 6, 5, 2);
    const std::int32_t dimage = activation(5, 6, 5), dwinograd = activation(5, 6, 5), spread = activation(20, 6, 5);
    const std::int32_t dw1 = b.arena(Layout::packed, packed(20, 5, 3, 3), 1, 1, false);
    const std::int32_t dw2 = b.arena(Layout::packed, packed(10, 20, 3, 5), 1, 1, false);
    const std::int32_t trained = b.state("trained", Layout::packed, packed(10, 20, 3, 5), 1, 1);
    b.instruction("cross_entropy_grad", {log_prob, again, dloss}, {dlogits}, {});
    b.instruction("linear_grad_input", {dlogits, w2, absent, absent}, {dboth}, {});
    b.instruction("linear_grad_weight", {dlogits, both}, {dw2}, {});
    b.instruction("elementwise", {trained, dw2}, {trained},
                  {1, bits_of(0.01), word(0, 0, 0, 0), word(0, 1, 1, 0), word(1, 2, 0, 0), word(5, 1, 1, 2),
                   word(4, 0, 0, 1), word(2, 0, 0, 0)});
    b.instruction("avg_pool2d_grad", {dboth}, {spread}, with(pool, {1, 0, 1}));
    b.instruction("max_pool2d_grad", {dboth, offset}, {dhidden}, pool);
    b.instruction("conv2d_grad_weight", {dhidden, image}, {dw1}, conv);
    b.instruction("conv2d_grad_input", {dhidden, w1, absent, absent}, {dimage}, conv);
    b.instruction("conv2d_grad_input_winograd", {dhidden, w1, absent, dimage}, {dwinograd}, with(conv, {0, 2}));
    b.instruction("unpack_weight", {dw1}, {dw}, {20, 5, 3, 3, 1});
    b.instruction("reorder", {dwinograd}, {dx}, keep);
    b.entry("backward");

    const std::int32_t w = b.port("w", false, 20 * 5 * 3 * 3, 1, 1, false);
    const std::int32_t fresh = b.state("fresh", Layout::packed, packed(20, 5, 3, 3), 1, 1);
    const std::int32_t apart = b.state("transformed", Layout::packed, 36 * packed(20, 5, 1, 1), 1, 1);
    b.instruction("pack_weight", {w, b1}, {fresh}, {20, 5, 3, 3, 1});
    b.instruction("pack_winograd", {w, b1}, {apart}, {20, 5, 4});
    b.entry("pack");

    const std::int32_t key = b.port("key", false, 2, 1, 1, false, DType::int64);
    const std::int32_t kept = b.arena(Layout::blocked, 20, 3, 5, true, DType::mask);
    const std::int32_t share = b.port("share", true, 20, 3, 5), dropped = activation(20, 3, 5);
    b.instruction("dropout_mask", {key}, {kept}, {std::int64_t{1} << 31, 1});
    b.instruction("elementwise", {kept}, {dropped}, {0, word(0, 0, 0, 0), word(2, 0, 0, 0)});
    b.instruction("reorder", {dropped}, {share}, keep);
    b.entry("drop");

    // The caller's own tensors; pools of them too.
    const std::int32_t given = b.port("given", false, 5, 6, 5),
                       filters = b.port("filters", false, 20 * 45, 1, 1, false),
                       each = b.port("each", false, 5 * 9, 1, 1, false);
    const std::int32_t padded = b.arena(Layout::plain, 5, 6, 5, true, DType::real, 1);
    const std::int32_t made = b.port("made", true, 20, 6, 5), dgiven = b.port("dgiven", true, 5, 6, 5);
    const std::int32_t dfilters = b.port("dfilters", true, 20 * 45, 1, 1, false);
    const std::int32_t best = b.port("best", true, 20, 3, 5),
                       winner = b.arena(Layout::plain, 20, 3, 5, true, DType::uint8);
    const std::int32_t dmade = b.port("dmade", true, 20, 6, 5);
    const std::int32_t product = b.port("product", true, 150, 6, 5);  // by five matrices of 30 x 4
    const std::int32_t highest = b.port("highest", true, 1, 6, 5, true, DType::int64);
    b.instruction("reorder", {given}, {padded}, keep);
    b.instruction("conv2d_plain", {padded, filters, b1}, {made}, conv);
    b.instruction("max_pool2d", {made}, {best, winner}, pool);
    b.instruction("max_pool2d_grad", {best, winner}, {dmade}, pool);
    b.instruction("conv2d_grad_input_plain", {dmade, filters}, {dgiven}, conv);
    b.instruction("conv2d_grad_weight_plain", {dmade, padded}, {dfilters}, conv);
    const std::int32_t deach = b.port("deach", true, 5 * 9, 1, 1, false);
    const std::int32_t slid = b.port("slid", true, 5, 6, 5), dslid = b.port("dslid", true, 5, 6, 5);
    const std::vector<std::int64_t> by_channel = {3, 3, 1, 1, 1, 1, 1, 1, 5};
    b.instruction("depthwise_plain", {given, each, absent}, {slid}, by_channel);
    b.instruction("depthwise_grad_input_plain", {slid, each}, {dslid}, by_channel);
    b.instruction("depthwise_grad_weight_plain", {slid, given}, {deach}, by_channel);
    b.instruction("arg_max", {made}, {highest}, {0, 1});
    b.instruction("matmul", {dmade, made}, {product}, {1, 1, 1, 1, 0, 0, 1, 1, 5});
    b.entry("plain");

    const std::int32_t table = b.weight("table", Layout::plain, 20 * 7, 1, 1);
    const std::int32_t index = b.port("index", false, 3, 1, 2, true, DType::int64);
    const std::int32_t found = b.port("rows", true, 3, 2, 7);
    const std::int32_t sum = b.state("sum", Layout::plain, 3, 2, 7);
    b.instruction("gather", {table, index}, {found}, {20, 7});
    b.instruction("accumulate", {found, sum}, {sum}, {});
    b.entry("rows");
    return b;
}

}  // namespace convlens_tests
