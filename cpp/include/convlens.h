/* convlens: run a compiled network, and the program that explains it, from C. No Python, no C++ run-time library.
 *
 * Functions that can fail return a status; 0 is success, and convlens_message() then says nothing new. Nothing prints,
 * aborts or throws. Handles of programs may be used by many threads at once; a workspace serves one call at a time.
 *
 *   convlens_program* program;
 *   convlens_workspace* workspace;
 *   if (convlens_open_file("digits.cvl", &program) != CONVLENS_OK) puts(convlens_message());
 *   convlens_workspace_create(program, 1, 0, &workspace);
 *   convlens_buffer buffers[] = {{"images", image, sizeof(image)}, {"logits", logits, sizeof(logits)}};
 *   convlens_run(program, "forward", workspace, 1, 0, buffers, 2);
 */
#ifndef CONVLENS_H
#define CONVLENS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define CONVLENS_API __attribute__((visibility("default")))
#else
#define CONVLENS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CONVLENS_OK = 0,
    CONVLENS_INVALID_ARGUMENT = 1, /* the caller passed something that cannot be right */
    CONVLENS_UNSUPPORTED = 2,      /* right, but not in this build or not on this processor */
    CONVLENS_OUT_OF_MEMORY = 3,
    CONVLENS_CORRUPT_FILE = 4,
    CONVLENS_WRONG_VERSION = 5,
    CONVLENS_IO = 6
};

/* What the calling thread's last failure was: the parameter in backticks, its value, the rule, the remedy. */
CONVLENS_API const char* convlens_message(void);

/* ---- the library ---- */

CONVLENS_API const char* convlens_version(void);
CONVLENS_API const char* convlens_isa(void);           /* the kernels in use: "avx512", ...; "" when none runs here */
CONVLENS_API const char* convlens_isa_reason(void);    /* why those */
CONVLENS_API int convlens_select_isa(const char* isa); /* for programs opened from now on */
CONVLENS_API int convlens_has_openmp(void);
CONVLENS_API int convlens_threads(void);            /* what a lone call may use */
CONVLENS_API int convlens_set_threads(int threads); /* 1 or more */

/* Replaces malloc and free. `allocate` returns null when it has no memory, else at least `bytes` bytes aligned to 16;
 * both may be called from any thread. Both null: malloc and free again. A block returns to the hooks it came from. */
CONVLENS_API int convlens_set_allocator(void* (*allocate)(void* context, size_t bytes),
                                        void (*deallocate)(void* context, void* memory), void* context);

/* ---- programs ---- */

typedef struct convlens_program convlens_program;

/* Maps the file; the weights are read where they lie. The file must not change while it is open. */
CONVLENS_API int convlens_open_file(const char* path, convlens_program** program);
/* Borrows `bytes` bytes at `memory`, aligned to 64, until convlens_close. */
CONVLENS_API int convlens_open_memory(const void* memory, size_t bytes, convlens_program** program);
CONVLENS_API void convlens_close(convlens_program* program); /* null is allowed */
/* Compares the weights with their checksum; opening checks all the rest. */
CONVLENS_API int convlens_verify_weights(const convlens_program* program);
CONVLENS_API int convlens_is_float64(const convlens_program* program);
/* JSON, with a zero byte behind its `*bytes` bytes (`bytes` may be null); "" when the file has none. */
CONVLENS_API const char* convlens_metadata(const convlens_program* program, size_t* bytes);

/* Entries are what can be run: "forward", "saliency", ... */
CONVLENS_API int convlens_entry_count(const convlens_program* program);
CONVLENS_API const char* convlens_entry_name(const convlens_program* program, int entry); /* null: no such entry */

enum { CONVLENS_REAL = 0, CONVLENS_INT64 = 1, CONVLENS_UINT8 = 2 };

typedef struct convlens_port {
    const char* name;
    int dtype; /* CONVLENS_REAL: float, or double in a float64 program */
    int is_output;
    int rank;
    int64_t dims[8]; /* C-contiguous; -1 is the number of images, only ever first */
    int64_t bytes;   /* of one image when dims[0] is -1, else of all */
} convlens_port;

/* The inputs of an entry, then its outputs. */
CONVLENS_API int convlens_port_count(const convlens_program* program, int entry);
CONVLENS_API int convlens_get_port(const convlens_program* program, int entry, int i, convlens_port* port);

/* Values that an entry updates in place, such as the weights of a training program: bound like a buffer, by name. */
CONVLENS_API int convlens_state_count(const convlens_program* program);
CONVLENS_API int convlens_get_state(const convlens_program* program, int i, const char** name, int64_t* bytes);

/* ---- workspaces and running ---- */

typedef struct convlens_workspace convlens_workspace;

/* Bytes that n images on `threads` threads (0: convlens_threads()) need, handle included: a + b n + c threads.
 * -1 when that does not fit or n < 0. */
CONVLENS_API int64_t convlens_workspace_bytes(const convlens_program* program, int64_t n, int threads);
CONVLENS_API int convlens_workspace_create(const convlens_program* program, int64_t n, int threads,
                                           convlens_workspace** workspace);
/* The same in memory of the caller, aligned to 64, which must outlive it. Allocates nothing. */
CONVLENS_API int convlens_workspace_create_in(const convlens_program* program, int64_t n, int threads, void* memory,
                                              size_t bytes, convlens_workspace** workspace);
CONVLENS_API void convlens_workspace_destroy(convlens_workspace* workspace); /* null is allowed */

typedef struct convlens_buffer {
    const char* name; /* of a port of the entry, or of a state */
    void* data;       /* inputs are only read; aligned to an element (states: to 64 bytes) */
    size_t bytes;     /* exactly those of the port for n images (states: at least) */
} convlens_buffer;

/* Runs an entry for n images, at most as many as the workspace is for (0 is allowed), on at most `threads` threads (0:
 * those the workspace is for, shared with other calls in flight). Allocates nothing and takes no lock. The result has
 * the same bits for any number of threads. What an entry leaves for a later one stays in the workspace, for the same n.
 */
CONVLENS_API int convlens_run(const convlens_program* program, const char* entry, convlens_workspace* workspace,
                              int64_t n, int threads, const convlens_buffer* buffers, int n_buffers);

#ifdef __cplusplus
}
#endif

#endif
