// Loops over registers must disappear: both compilers unroll them whole when told to.
#pragma once

#if defined(__clang__)
#define CONVLENS_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CONVLENS_UNROLL _Pragma("GCC unroll 64")
#endif
