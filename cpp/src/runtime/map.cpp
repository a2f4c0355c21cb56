#include "runtime/map.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/allocator.hpp"

#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace convlens {

#if !defined(_WIN32)

Status MappedFile::open(const char* path) {
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return fail(Code::io, "`path` (=%.160s): %s", path, std::strerror(errno));
    struct stat about;
    if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) {
        close(file);
        return fail(Code::io, "`path` (=%.160s) must be a regular file", path);
    }
    if (about.st_size > 0) {
        void* data = mmap(nullptr, static_cast<std::size_t>(about.st_size), PROT_READ, MAP_PRIVATE, file, 0);
        const int error = errno;
        close(file);
        if (data == MAP_FAILED) return fail(Code::io, "`path` (=%.160s): %s", path, std::strerror(error));
        data_ = data;
        size_ = static_cast<std::size_t>(about.st_size);
        mapped_ = true;
        return {};
    }
    close(file);
    return fail(Code::corrupt_file, "`path` (=%.160s) is empty", path);
}

MappedFile::~MappedFile() {
    if (mapped_) munmap(data_, size_);
}

#else

Status MappedFile::open(const char* path) {
    std::FILE* file = std::fopen(path, "rb");
    if (file == nullptr) return fail(Code::io, "`path` (=%.160s) cannot be opened", path);
    long long size = -1;
    if (_fseeki64(file, 0, SEEK_END) == 0) size = _ftelli64(file);
    if (size > 0 && _fseeki64(file, 0, SEEK_SET) == 0) data_ = allocate(static_cast<std::size_t>(size));
    const bool read = data_ != nullptr &&
                      std::fread(data_, 1, static_cast<std::size_t>(size), file) == static_cast<std::size_t>(size);
    std::fclose(file);
    if (!read) return fail(Code::io, "`path` (=%.160s) cannot be read", path);
    size_ = static_cast<std::size_t>(size);
    return {};
}

MappedFile::~MappedFile() { deallocate(data_); }

#endif

}  // namespace convlens
