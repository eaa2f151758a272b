# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
#
# make              build ./unfreed
# make demo         install what is missing, build, show it on a leaky program
# make test         install what is missing, build, run all tests
# make test-stacks  the stacks of real programs against libdw's
# make test-kernels the same counts on other kernels, in QEMU (slow; downloads)
# make test-compilers  other compilers and versions of libbpf (slow; downloads)
# make bench        what tracing costs, as ratios
# make install      into $(DESTDIR)$(PREFIX)
# make vmlinux      regenerate vmlinux/*/vmlinux.h from Debian's kernels
#
# V=1 shows the commands, WERROR=1 makes warnings errors, CC and CLANG choose compilers.

VERSION := 0.1.0
PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
LIBDIR  ?= $(PREFIX)/lib
MANDIR  ?= $(PREFIX)/share/man

CC      ?= gcc
CLANG   ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PKG_CONFIG ?= pkg-config

BUILD := build
Q := $(if $(V),,@)
# Everything in parallel, unless make was told how many (-j4).
JOBS = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2))

MACHINE := $(shell uname -m)
ifeq ($(MACHINE),aarch64)
BPF_ARCH := arm64
VMLINUX := vmlinux/arm64
else
BPF_ARCH := x86
VMLINUX := vmlinux/x86_64
endif

WARNINGS := -Wall -Wextra -Wmissing-prototypes -Wstrict-prototypes -Wshadow -Wpointer-arith \
	    -Wundef -Wvla $(if $(WERROR),-Werror)
CFLAGS   ?= -O2 -g
USER_CPPFLAGS := -D_GNU_SOURCE -DUNFREED_VERSION='"$(VERSION)"' -DUNFREED_LIBDIR='"$(LIBDIR)/unfreed"' -Iinclude -Iuser -I$(BUILD)
USER_CFLAGS := -std=gnu17 $(WARNINGS) -MMD -MP
LIBS := $(shell $(PKG_CONFIG) --libs libbpf libelf libdw 2>/dev/null || echo -lbpf -lelf -ldw) \
	-lZydis -ljson-c -liberty -lz -lm -pthread
ASAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g

USER_SRCS := $(wildcard user/*/*.c)
MAIN_SRC  := user/cli/main.c
OBJS      := $(USER_SRCS:%.c=$(BUILD)/%.o)
ASAN_OBJS := $(USER_SRCS:%.c=$(BUILD)/asan/%.o)
LIB_ASAN_OBJS := $(filter-out $(MAIN_SRC:%.c=$(BUILD)/asan/%.o),$(ASAN_OBJS)) \
		 $(addprefix $(BUILD)/asan/gate/,sampler.o sampled_set.o settings.o) # without malloc
BPF_OBJ   := $(BUILD)/unfreed.bpf.o
SKELETON  := $(BUILD)/unfreed.skel.h

UNIT_SRCS  := $(wildcard tests/unit/test_*.c)
UNIT_TESTS := $(UNIT_SRCS:%.c=$(BUILD)/%)
PROGRAM_SRCS := $(wildcard tests/programs/*.c tests/programs/*.cc)
PROGRAMS := $(patsubst %.c,$(BUILD)/%,$(patsubst %.cc,$(BUILD)/%,$(PROGRAM_SRCS))) \
	    $(if $(shell command -v musl-gcc),$(BUILD)/tests/programs/batches.musl)

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.PHONY: all test test-unit test-live test-stacks test-kernels test-compilers stacks check-bpf demo bench install clean vmlinux deps deps-test deps-test-stacks format man asan programs

all: unfreed libunfreed-gate.so

# Runs inside other programs, whatever their C library: it is linked with none.
GATE_SRCS   := $(wildcard gate/*.c)
GATE_CFLAGS := -std=gnu17 $(WARNINGS) -Wno-missing-prototypes -O2 -g -fPIC -fvisibility=hidden \
	       -ftls-model=initial-exec -fno-builtin -fno-stack-protector -fcf-protection=none \
	       -foptimize-sibling-calls -fomit-frame-pointer -fno-tree-loop-distribute-patterns \
	       -U_FORTIFY_SOURCE -MMD -MP
ifeq ($(BPF_ARCH),arm64)
GATE_CFLAGS := $(filter-out -fcf-protection=none,$(GATE_CFLAGS))
endif

libunfreed-gate.so: $(GATE_SRCS:%.c=$(BUILD)/%.o)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -nostdlib -Wl,-soname,$@,-z,now,-z,relro,--hash-style=both -o $@ $^

$(BUILD)/gate/%.o: gate/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(GATE_CFLAGS) -D_GNU_SOURCE -Iinclude -c -o $@ $<

unfreed: $(OBJS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/%.o: %.c | $(SKELETON)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(USER_CFLAGS) $(USER_CPPFLAGS) $(CPPFLAGS) -c -o $@ $<

# ---- BPF ----

BPF_CFLAGS := -g -O2 -mcpu=v3 -target bpf -Wall -Wextra -Wno-unused-parameter \
	      -Wno-missing-declarations $(if $(WERROR),-Werror) -Iinclude -MMD -MP

$(BPF_OBJ): bpf/unfreed.bpf.c
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -D__TARGET_ARCH_$(BPF_ARCH) -I$(VMLINUX) -c -o $@ $<

$(SKELETON): $(BPF_OBJ)
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name unfreed_bpf > $@

# Both architectures, whatever this machine is.
check-bpf: $(BUILD)/check/x86.bpf.o $(BUILD)/check/arm64.bpf.o

$(BUILD)/check/x86.bpf.o: VMLINUX_DIR = vmlinux/x86_64
$(BUILD)/check/arm64.bpf.o: VMLINUX_DIR = vmlinux/arm64
$(BUILD)/check/%.bpf.o: bpf/unfreed.bpf.c
	$(call say,BPF,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -D__TARGET_ARCH_$* -I$(VMLINUX_DIR) -c -o $@ $<

vmlinux:
	vmlinux/generate

# ---- tests ----

$(BUILD)/asan/%.o: %.c | $(SKELETON)
	$(call say,CC,"$< (asan)")
	@mkdir -p $(@D)
	$(Q)$(CC) $(ASAN) $(USER_CFLAGS) $(USER_CPPFLAGS) -c -o $@ $<

$(BUILD)/asan/unfreed: $(ASAN_OBJS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ASAN) -o $@ $^ $(LIBS)

$(BUILD)/asan/libunfreed.a: $(LIB_ASAN_OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@; ar rcs $@ $^

$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/asan/libunfreed.a
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ASAN) $(USER_CFLAGS) $(USER_CPPFLAGS) -I. $$($(PKG_CONFIG) --cflags check json-c) \
		-o $@ $< $(BUILD)/asan/libunfreed.a $(LIBS) $$($(PKG_CONFIG) --libs check json-c)

# Our unwind tables against libdw's, row by row, on every file of the system.
CHECK_TABLES := $(BUILD)/tests/unwind/check_tables
$(CHECK_TABLES): tests/unwind/check_tables.c $(filter $(BUILD)/user/unwind/%,$(OBJS))
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(USER_CFLAGS) $(USER_CPPFLAGS) -o $@ $< \
		$(filter $(BUILD)/user/unwind/%,$(OBJS)) $(LIBS)

PROGRAM_CFLAGS := -O1 -g -fno-omit-frame-pointer -fno-optimize-sibling-calls -pthread
PROGRAM_LIBS := -ldl -lm

# NAME.nofp.c, NAME.nofp.cc, NAME.nofp.so.c: as distributions build, without frame pointers.
$(BUILD)/tests/programs/%.nofp $(BUILD)/tests/programs/%.nofp.so: \
	PROGRAM_CFLAGS = -O2 -g -fomit-frame-pointer -pthread

$(BUILD)/tests/programs/%.so: tests/programs/%.so.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)gcc -std=gnu17 $(PROGRAM_CFLAGS) -shared -fPIC -MMD -MP -o $@ $< $(PROGRAM_LIBS)

$(BUILD)/tests/programs/%.static: tests/programs/%.static.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)gcc -std=gnu17 $(PROGRAM_CFLAGS) -static -MMD -MP -o $@ $<

# Another libc, as Alpine has it.
$(BUILD)/tests/programs/%.musl: tests/programs/%.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)musl-gcc -std=gnu17 $(PROGRAM_CFLAGS) -MMD -MP -o $@ $<

$(BUILD)/tests/programs/%: tests/programs/%.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)gcc -std=gnu17 $(PROGRAM_CFLAGS) -MMD -MP -o $@ $< $(PROGRAM_LIBS)

$(BUILD)/tests/programs/%: tests/programs/%.cc
	$(call say,CXX,$@)
	@mkdir -p $(@D)
	$(Q)g++ -std=gnu++17 $(PROGRAM_CFLAGS) -MMD -MP -o $@ $< $(PROGRAM_LIBS)

# The program once more, with BPF programs that copy what they walk, for tests/stacks.
TRUTH       := $(BUILD)/truth
TRUTH_SRCS  := $(filter-out $(MAIN_SRC),$(USER_SRCS)) $(wildcard tests/stacks/*.c)
TRUTH_OBJS  := $(TRUTH_SRCS:%.c=$(TRUTH)/%.o)
CHECK_STACKS := $(TRUTH)/check_stacks
STACK_PROGRAMS := $(addprefix $(BUILD)/tests/stacks/programs/,frameless exceptions swap \
		  swap_a.so swap_b.so)
# As distributions build: optimized, no frame pointers, lazy binding for the stubs' sake.
STACK_PROGRAM_CFLAGS := -O2 -fomit-frame-pointer -pthread -Wl,-z,lazy

$(TRUTH)/unfreed.bpf.o: bpf/unfreed.bpf.c
	$(call say,BPF,"$< (truth)")
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -DUNFREED_TRUTH -Itests/stacks -D__TARGET_ARCH_$(BPF_ARCH) \
		-I$(VMLINUX) -c -o $@ $<

$(TRUTH)/unfreed.skel.h: $(TRUTH)/unfreed.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name unfreed_bpf > $@

$(TRUTH)/%.o: %.c | $(TRUTH)/unfreed.skel.h
	$(call say,CC,"$< (truth)")
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(USER_CFLAGS) -I$(TRUTH) $(USER_CPPFLAGS) $(CPPFLAGS) -c -o $@ $<

$(CHECK_STACKS): $(TRUTH_OBJS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/stacks/programs/swap_a.so: FRAME_BYTES := 48
$(BUILD)/tests/stacks/programs/swap_b.so: FRAME_BYTES := 112
$(BUILD)/tests/stacks/programs/swap_%.so: tests/stacks/programs/swap_library.inc.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)gcc -std=gnu17 $(STACK_PROGRAM_CFLAGS) -shared -fPIC -DFRAME_BYTES=$(FRAME_BYTES) -o $@ $<

$(BUILD)/tests/stacks/programs/%: tests/stacks/programs/%.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)gcc -std=gnu17 $(STACK_PROGRAM_CFLAGS) -MMD -MP -o $@ $<

$(BUILD)/tests/stacks/programs/%: tests/stacks/programs/%.cc
	$(call say,CXX,$@)
	@mkdir -p $(@D)
	$(Q)g++ -std=gnu++17 $(STACK_PROGRAM_CFLAGS) -MMD -MP -o $@ $<

# The program once more, with a decoder that is wrong, for tests/live/test_places.py.
MISPLACED := $(BUILD)/misplaced/unfreed
$(BUILD)/misplaced/placement.o: user/probe/placement.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(USER_CFLAGS) $(USER_CPPFLAGS) $(CPPFLAGS) -DUNFREED_MISPLACED -c -o $@ $<

$(MISPLACED): $(BUILD)/misplaced/placement.o $(filter-out $(BUILD)/user/probe/placement.o,$(OBJS))
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

programs: $(PROGRAMS) $(MISPLACED)
# The unwind tables are for x86-64; tests/stacks/run says so elsewhere.
stacks: $(if $(filter x86,$(BPF_ARCH)),$(CHECK_STACKS) $(STACK_PROGRAMS))
asan: $(BUILD)/asan/unfreed

test: deps-test
	$(Q)$(MAKE) --no-print-directory $(JOBS) all asan programs stacks check-bpf $(CHECK_TABLES) $(UNIT_TESTS) \
		$(BENCH_PROGRAMS)
	$(Q)tests/run

test-unit: $(UNIT_TESTS)
	$(Q)tests/run unit

test-live: all asan programs
	$(Q)tests/run live

test-stacks: deps-test-stacks
	$(Q)$(MAKE) --no-print-directory stacks
	$(Q)tests/stacks/run

test-kernels:
	$(Q)packaging/install-deps build test kernels
	$(Q)$(MAKE) --no-print-directory unfreed programs
	$(Q)tests/vm/run

test-compilers:
	$(Q)packaging/install-deps build test compilers
	$(Q)$(MAKE) --no-print-directory unfreed programs
	$(Q)tests/build/run

demo: deps
	$(Q)$(MAKE) --no-print-directory unfreed $(BUILD)/tests/programs/leaky
	$(Q)tests/demo

# ---- bench ----

BENCH := $(BUILD)/tests/bench
BENCH_PROGRAMS := $(BENCH)/alloc_loop $(BENCH)/alloc_loop_fp $(BENCH)/floor
PROBE_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard user/probe/*.c user/unwind/*.c))

$(BENCH)/alloc_loop: BENCH_FRAMES := -fomit-frame-pointer
$(BENCH)/alloc_loop_fp: BENCH_FRAMES := -fno-omit-frame-pointer
$(BENCH)/alloc_loop $(BENCH)/alloc_loop_fp: tests/bench/alloc_loop.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)gcc -std=gnu17 -O2 -g $(BENCH_FRAMES) $(WARNINGS) -pthread -o $@ $<

$(BENCH)/floor.bpf.o: tests/bench/floor.bpf.c
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -D__TARGET_ARCH_$(BPF_ARCH) -I$(VMLINUX) -c -o $@ $<

$(BENCH)/floor.skel.h: $(BENCH)/floor.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name floor_bpf > $@

$(BENCH)/floor: tests/bench/floor.c $(PROBE_OBJS) $(BENCH)/floor.skel.h
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(USER_CFLAGS) $(USER_CPPFLAGS) -o $@ $< $(PROBE_OBJS) $(LIBS)

# The tools to compare with are a courtesy: without them there are fewer rows.
bench: deps
	-$(Q)packaging/install-deps bench
	$(Q)$(MAKE) --no-print-directory all $(BENCH_PROGRAMS)
	$(Q)tests/bench/run

# ---- the rest ----

deps:
	$(Q)packaging/install-deps build

deps-test:
	$(Q)packaging/install-deps build test

deps-test-stacks:
	$(Q)packaging/install-deps build test test-stacks

man: $(BUILD)/unfreed.8
$(BUILD)/unfreed.8: unfreed
	$(Q)./unfreed --man > $@

install: unfreed libunfreed-gate.so $(BUILD)/unfreed.8
	install -D -m 755 unfreed $(DESTDIR)$(SBINDIR)/unfreed
	install -D -m 755 libunfreed-gate.so $(DESTDIR)$(LIBDIR)/unfreed/libunfreed-gate.so
	install -D -m 644 $(BUILD)/unfreed.8 $(DESTDIR)$(MANDIR)/man8/unfreed.8

format:
	clang-format -i $(wildcard user/*/*.[ch] include/*.h bpf/*.[ch] tests/*/*.[ch])

clean:
	rm -rf $(BUILD) unfreed libunfreed-gate.so

-include $(shell find $(BUILD) -path $(BUILD)/roots -prune -o -type f -name '*.d' -print 2>/dev/null)
