/* Classifies one image with a compiled network and writes the map that explains the answer:
 *     classify digits.cvl digit.f32 map.f32 [saliency]
 * Images and maps are raw float32 in the order (channels, height, width). Build: see examples/c/CMakeLists.txt. */
#include <convlens.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(call) \
    if ((call) != CONVLENS_OK) return fprintf(stderr, "%s\n", convlens_message()), 1

int main(int count, char** arguments) {
    if (count < 4) return fprintf(stderr, "usage: classify network.cvl image.f32 map.f32 [entry]\n"), 2;
    const char* explain = count > 4 ? arguments[4] : "saliency";
    convlens_program* program;
    convlens_workspace* workspace;
    CHECK(convlens_open_file(arguments[1], &program));
    CHECK(convlens_workspace_create(program, 1, 0, &workspace));

    convlens_port images, logits, map; /* of entry 0, `forward`, and of the explanation behind it */
    int entry = 0;
    while (entry < convlens_entry_count(program) && strcmp(convlens_entry_name(program, entry), explain) != 0) ++entry;
    CHECK(convlens_get_port(program, 0, 0, &images));
    CHECK(convlens_get_port(program, 0, 1, &logits));
    CHECK(convlens_get_port(program, entry, convlens_port_count(program, entry) - 1, &map));
    const size_t classes = (size_t)logits.bytes / sizeof(float);
    float *pixels = malloc(images.bytes), *scores = malloc(logits.bytes), *seed = calloc(classes, sizeof(float));
    float* values = malloc(map.bytes);

    FILE* file = fopen(arguments[2], "rb");
    if (!file || fread(pixels, images.bytes, 1, file) != 1) return fprintf(stderr, "cannot read %s\n", arguments[2]), 1;
    fclose(file);
    const convlens_buffer forward[] = {{images.name, pixels, images.bytes}, {logits.name, scores, logits.bytes}};
    CHECK(convlens_run(program, convlens_entry_name(program, 0), workspace, 1, 0, forward, 2));
    size_t top = 0;
    for (size_t i = 1; i < classes; ++i) top = scores[i] > scores[top] ? i : top;
    printf("class %zu, score %.9g\n", top, scores[top]);

    seed[top] = 1; /* explain the logit of the top class */
    const convlens_buffer backward[] = {{"seed", seed, logits.bytes}, {map.name, values, map.bytes}};
    CHECK(convlens_run(program, explain, workspace, 1, 0, backward, 2));
    file = fopen(arguments[3], "wb");
    if (!file || fwrite(values, map.bytes, 1, file) != 1 || fclose(file) != 0) return fprintf(stderr, "cannot write\n"), 1;
    convlens_workspace_destroy(workspace);
    convlens_close(program);
    return free(pixels), free(scores), free(seed), free(values), 0;
}
