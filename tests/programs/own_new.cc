// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
// operators.cc with an allocator of its own, whose operators do not call its malloc. Nothing is
// ever used again.
#include "operators.cc"

#include <cstring>

#define OWN __attribute__((noipa)) // called, as if they were in another file

static char arena[256 << 20] __attribute__((aligned(4096)));
static size_t used;

// The size stands before the block.
OWN static void *take(size_t bytes, size_t align)
{
	size_t start = (used + sizeof(size_t) + align - 1) & -align;

	if (bytes > sizeof(arena) || start > sizeof(arena) - bytes)
		return nullptr;
	used = start + bytes;
	memcpy(&arena[start - sizeof(size_t)], &bytes, sizeof(bytes));
	return &arena[start];
}

static void *take_or_throw(size_t bytes, size_t align)
{
	void *p;

	while (!(p = take(bytes, align))) {
		std::new_handler handler = std::get_new_handler();

		if (!handler)
			throw std::bad_alloc();
		handler();
	}
	return p;
}

extern "C" {
OWN void *malloc(size_t bytes)
{
	return take(bytes, 16);
}

OWN void free(void *)
{
}

OWN void *calloc(size_t cnt, size_t bytes)
{
	return malloc(cnt * bytes);
}

OWN void *realloc(void *old, size_t bytes)
{
	size_t old_bytes = 0;
	void *p = malloc(bytes);

	if (old)
		memcpy(&old_bytes, static_cast<char *>(old) - sizeof(size_t), sizeof(size_t));
	return p && old ? memcpy(p, old, old_bytes < bytes ? old_bytes : bytes) : p;
}

OWN void *memalign(size_t align, size_t bytes)
{
	return take(bytes, align);
}
}

OWN void *operator new(size_t bytes)
{
	return take_or_throw(bytes, 16);
}

OWN void *operator new[](size_t bytes)
{
	return take_or_throw(bytes, 16);
}

OWN void *operator new(size_t bytes, std::align_val_t align)
{
	return take_or_throw(bytes, size_t(align));
}

OWN void *operator new[](size_t bytes, std::align_val_t align)
{
	return take_or_throw(bytes, size_t(align));
}

OWN void *operator new(size_t bytes, const std::nothrow_t &) noexcept
{
	return take(bytes, 16);
}

OWN void *operator new[](size_t bytes, const std::nothrow_t &) noexcept
{
	return take(bytes, 16);
}

OWN void *operator new(size_t bytes, std::align_val_t align, const std::nothrow_t &) noexcept
{
	return take(bytes, size_t(align));
}

OWN void *operator new[](size_t bytes, std::align_val_t align, const std::nothrow_t &) noexcept
{
	return take(bytes, size_t(align));
}

OWN void operator delete(void *) noexcept
{
}

OWN void operator delete[](void *) noexcept
{
}

OWN void operator delete(void *, size_t) noexcept
{
}

OWN void operator delete[](void *, size_t) noexcept
{
}

OWN void operator delete(void *, const std::nothrow_t &) noexcept
{
}

OWN void operator delete[](void *, const std::nothrow_t &) noexcept
{
}

OWN void operator delete(void *, std::align_val_t) noexcept
{
}

OWN void operator delete[](void *, std::align_val_t) noexcept
{
}

OWN void operator delete(void *, size_t, std::align_val_t) noexcept
{
}

OWN void operator delete[](void *, size_t, std::align_val_t) noexcept
{
}

OWN void operator delete(void *, std::align_val_t, const std::nothrow_t &) noexcept
{
}

OWN void operator delete[](void *, std::align_val_t, const std::nothrow_t &) noexcept
{
}
