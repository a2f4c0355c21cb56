// Loops over registers must disappear: both compilers unroll them whole when told to. Others are better kept, where
// the code's size counts for more.
#pragma once

#if defined(__clang__)
#define CONVLENS_UNROLL _Pragma("clang loop unroll(full)")
#define CONVLENS_KEEP_LOOP _Pragma("clang loop unroll(disable)")
#else
#define CONVLENS_UNROLL _Pragma("GCC unroll 64")
#define CONVLENS_KEEP_LOOP _Pragma("GCC unroll 1")
#endif
