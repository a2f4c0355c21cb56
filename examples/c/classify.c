/* Classifies an image with a compiled network and writes the map that explains the answer, without Python:
 *     classify digits.cvl digit.f32 map.f32 [saliency]
 * where `convlens compile digits.npz --explain saliency --out digits.cvl` made the first file. Image and map are raw
 * float32 in the order (channels, height, width). */
#include <convlens.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(call) \
    if ((call) != CONVLENS_OK) return fprintf(stderr, "%s\n", convlens_message()), 1
enum { kMost = 8 }; /* ports of an entry */

/* A buffer of zeros for every port of an entry, inputs before outputs; how many there are. */
static int make_buffers(const convlens_program* program, int entry, convlens_buffer* buffers) {
    convlens_port port;
    int i = 0;
    for (; i < kMost && i < convlens_port_count(program, entry); ++i) {
        if (convlens_get_port(program, entry, i, &port) != CONVLENS_OK) return i;
        buffers[i] = (convlens_buffer){port.name, calloc(1, (size_t)port.bytes), (size_t)port.bytes};
    }
    return i;
}

int main(int count, char** arguments) {
    if (count < 4) return fprintf(stderr, "usage: classify network.cvl image.f32 map.f32 [entry]\n"), 2;
    convlens_program* program;
    convlens_workspace* workspace;
    CHECK(convlens_open_file(arguments[1], &program));
    CHECK(convlens_workspace_create(program, 1, 0, &workspace));

    convlens_buffer forward[kMost]; /* of entry 0: the image, the scores */
    const int n_forward = make_buffers(program, 0, forward);
    FILE* file = fopen(arguments[2], "rb");
    if (!file || fread(forward[0].data, forward[0].bytes, 1, file) != 1)
        return fprintf(stderr, "cannot read the image\n"), 1;
    fclose(file);
    CHECK(convlens_run(program, convlens_entry_name(program, 0), workspace, 1, 0, forward, n_forward));
    const float* scores = forward[1].data;
    size_t top = 0;
    for (size_t i = 1; i < forward[1].bytes / sizeof(float); ++i) top = scores[i] > scores[top] ? i : top;
    printf("class %zu, score %.9g\n", top, scores[top]);

    const char* method = count > 4 ? arguments[4] : "saliency";
    int entry = 0;
    while (entry < convlens_entry_count(program) && strcmp(convlens_entry_name(program, entry), method) != 0) ++entry;
    convlens_buffer explain[kMost]; /* of the method's entry: the seed, the map */
    const int n_explain = make_buffers(program, entry, explain);
    if (n_explain < 2) return fprintf(stderr, "the file holds no `%s`\n", method), 1;
    ((float*)explain[0].data)[top] = 1; /* what is explained: the score of the top class */
    CHECK(convlens_run(program, method, workspace, 1, 0, explain, n_explain));
    file = fopen(arguments[3], "wb");
    if (!file || fwrite(explain[1].data, explain[1].bytes, 1, file) != 1 || fclose(file) != 0)
        return perror(arguments[3]), 1;

    for (int i = 0; i < n_forward; ++i) free(forward[i].data);
    for (int i = 0; i < n_explain; ++i) free(explain[i].data);
    convlens_workspace_destroy(workspace);
    convlens_close(program);
    return 0;
}
