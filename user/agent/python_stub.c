/* temporary: until user/python is there */
#include "python/runtime.h"
#include "python/code_object.h"
#define WEAK __attribute__((weak))
WEAK bool python_file__may_be_python(int fd) { (void)fd; return false; }
WEAK enum python_status python_runtime__find(const struct python_file *f, python_read_fn r, void *a, struct python_runtime *o) { (void)f; (void)r; (void)a; (void)o; return PYTHON_ABSENT; }
WEAK struct python_code *python_code__new(const struct uf_python_code *c) { (void)c; return 0; }
WEAK void python_code__free(struct python_code *c) { (void)c; }
WEAK const char *python_code__filename(const struct python_code *c) { (void)c; return ""; }
WEAK const char *python_code__qualname(const struct python_code *c) { (void)c; return ""; }
WEAK uint32_t python_code__line(const struct python_code *c, uint32_t o) { (void)c; (void)o; return 0; }
WEAK bool python_code__needs_more(const struct python_code *c, uint64_t *a, uint32_t *l) { (void)c; (void)a; (void)l; return false; }
WEAK int python_code__set_linetable(struct python_code *c, const void *b, uint32_t l) { (void)c; (void)b; (void)l; return 0; }
