// A growable array whose growth can fail; the core's only container.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/allocator.hpp"
#include "base/status.hpp"

namespace convlens {

template <class T>
class Array {
    static_assert(std::is_trivially_copyable<T>::value && std::is_trivially_destructible<T>::value,
                  "Array moves its elements as bytes");

  public:
    Array() = default;
    ~Array() { deallocate(data_); }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    Array(Array&& other) noexcept { swap(other); }
    Array& operator=(Array&& other) noexcept {
        swap(other);
        return *this;
    }

    std::int64_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](std::int64_t i) { return data_[i]; }
    const T& operator[](std::int64_t i) const { return data_[i]; }
    T* begin() { return data_; }
    T* end() { return data_ + size_; }
    const T* begin() const { return data_; }
    const T* end() const { return data_ + size_; }

    // New elements are zero bytes. On failure the array is as it was.
    Status resize(std::int64_t size) {
        if (size > capacity_) CONVLENS_RETURN_IF_ERROR(reserve(size));
        if (size > size_) {
            std::memset(static_cast<void*>(data_ + size_), 0, static_cast<std::size_t>(size - size_) * sizeof(T));
        }
        size_ = size;
        return {};
    }

    Status push(const T& value) {
        if (size_ == capacity_) CONVLENS_RETURN_IF_ERROR(reserve(capacity_ < 8 ? 16 : capacity_ * 2));
        data_[size_++] = value;
        return {};
    }

    Status reserve(std::int64_t capacity) {
        if (capacity <= capacity_) return {};
        if (capacity > INT64_MAX / static_cast<std::int64_t>(sizeof(T))) return out_of_memory(capacity);
        T* data = static_cast<T*>(allocate(static_cast<std::size_t>(capacity) * sizeof(T)));
        if (data == nullptr) return out_of_memory(capacity);
        if (size_ > 0) {
            std::memcpy(static_cast<void*>(data), data_, static_cast<std::size_t>(size_) * sizeof(T));
        }
        deallocate(data_);
        data_ = data;
        capacity_ = capacity;
        return {};
    }

    void swap(Array& other) {
        T* data = data_;
        const std::int64_t size = size_, capacity = capacity_;
        data_ = other.data_, size_ = other.size_, capacity_ = other.capacity_;
        other.data_ = data, other.size_ = size, other.capacity_ = capacity;
    }

  private:
    static Status out_of_memory(std::int64_t capacity) {
        return fail(Code::out_of_memory, "no memory for %lld elements of %zu bytes", static_cast<long long>(capacity),
                    sizeof(T));
    }

    T* data_ = nullptr;
    std::int64_t size_ = 0, capacity_ = 0;
};

}  // namespace convlens
