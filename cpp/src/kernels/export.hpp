// What an ISA's translation unit may use beside <stdint.h>: no std headers with templates, or a weak copy compiled with
// its flags could be picked by the linker for every CPU.
#pragma once

#define CONVLENS_CONCAT_(a, b) a##b
#define CONVLENS_CONCAT(a, b) CONVLENS_CONCAT_(a, b)

// Everything in a body lives in an anonymous namespace inside this one; only these wrappers leave the object file.
#define CONVLENS_EXPORT_KERNEL(name, Args)                                           \
    namespace convlens {                                                             \
    namespace kernels {                                                              \
    namespace CONVLENS_ISA_NAME {                                                    \
    void CONVLENS_CONCAT(name, _f32)(const Args<float>& args) { name<float>(args); } \
    CONVLENS_EXPORT_KERNEL_F64(name, Args)                                           \
    }                                                                                \
    }                                                                                \
    }

#if defined(CONVLENS_FLOAT64)
#define CONVLENS_EXPORT_KERNEL_F64(name, Args) \
    void CONVLENS_CONCAT(name, _f64)(const Args<double>& args) { name<double>(args); }
#else
#define CONVLENS_EXPORT_KERNEL_F64(name, Args)
#endif
