# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: stacks are true, frame by frame, in code without frame pointers: whole, or cut with the
reason, but never wrong."""

import collections
import os

import harness
import stacks
from stacks import LIBC, START, THREAD, in_libc, outline, plain_name

# frames.nofp.c: case, end of the stack, stacks up to main or the thread's first function
CASES = {
    "plain": ["leak", "plain"],
    "recursion": ["leak", *41 * ["recursion_step"], "recursion"],
    "mutual": ["leak", *5 * ["even", "odd"], "even", "mutual"],
    "alloca_small": ["leak", "with_alloca", "alloca_small"],
    "alloca_big": ["leak", "with_alloca", "alloca_big"],
    "big_frame": ["leak", "big_frame_inner", "big_frame"],
    "aligned": ["leak", *4 * ["aligned_frame"], "aligned"],
    "everything": ["leak", "everything_frame", "everything"],
    "tail": ["leak", "tail_callee", "tail"],
    "tail_of_malloc": ["tail_of_malloc"],
    "no_return": ["leak", "never_returns", "no_return"],
    "sorting": ["leak", "compare", LIBC, "sorting"],
    "searching": ["leak", "compare", LIBC, "searching"],
    "finding": ["leak", "compare", LIBC, "finding"],
    "only_once": ["leak", "at_once", LIBC, "only_once"],
    "in_library": ["leak", "calls_back", "plugin_inner", "plugin_calls", "in_library"],
}
# Two stacks each.
TWICE = {
    "registers": 2 * [["leak", "many_registers", "registers"]],
    "spoilt": [["leak", "with_alloca", "spoilt"], ["leak", "rbp_is_spoilt", "spoilt"]],
}

# throws.nofp.cc: what is above main
THROWS = [
    ["leak", "guard::~guard", "passes_through", "destroys"],
    ["leak", "handles"],
    ["leak", "rethrows", "handles_again"],
    ["leak", "handles_again"],
    ["leak", "continues"],
]


class Frames(stacks.StackTest):
    """One stack for each shape of frame."""

    def frames(self, *args):
        """The last report on frames.nofp.c."""
        victim = self.victim("frames.nofp", harness.program("plugin.nofp.so"))
        return self.primed(victim, *args, prime="DONE load", gates=["DONE cases"])

    def check_cases(self, report):
        """All of frames.nofp.c, and nothing else of its size."""
        expected = collections.Counter()
        for stack in [*CASES.values(), *TWICE["registers"], *TWICE["spoilt"]]:
            expected[("complete", *stack, "main", *START)] += 1
        expected[("complete", "leak", "in_thread", *THREAD)] = 1
        expected[("depth", "leak", *126 * ["recursion_step"])] = 1
        expected[("unsupported", "leak", "huge_frame")] = 1
        self.assert_stacks(report, 1000, expected)

    def test_every_shape_of_frame(self):
        report = self.frames()
        self.check_cases(report)
        self.assert_stacks(report, 2000, {("complete", "plugin_inner", "plugin_calls",
                                           "in_library", "main", *START): 1})
        self.assert_no_loss(report)

    def test_tables_alone_do_for_compiled_code(self):
        self.check_cases(self.frames("--stack", "dwarf"))

    def test_the_dynamic_linkers_own_stacks_are_whole(self):
        """It has no frame pointers either, calls through dlopen's tables of handlers, and
        allocates for the library and for the thread."""
        report = self.frames()
        sites = harness.find_sites(report, "in_library", anywhere=True)
        linkers = [site for site in sites if "ld-linux" in site["frames"][0]["module"]]
        self.assertGreater(len(linkers), 3, harness.describe(report))
        for site in linkers:
            self.assertEqual(site["stack_end"], "complete")
            self.assertEqual(harness.functions(site)[-1], "_start")
            self.assertIn("in_library", harness.functions(site))

    def test_lines_are_those_of_the_calls(self):
        """Each return address is a line further than its call, were it not looked up as one."""
        report = self.frames()
        (site,) = [site for site in harness.find_sites(report, "leak")
                   if harness.functions(site)[1] == "plain"]
        for frame, text in zip(site["frames"], ("sink = malloc(SIZE);", "leak();",
                                                "cases[i].function();")):
            with open(os.path.join(harness.SOURCES, "frames.nofp.c"), encoding="utf-8") as source:
                self.assertEqual(source.readlines()[frame["line"] - 1].strip(), text)

    def test_exceptions_in_flight(self):
        report = self.trace(self.victim("throws.nofp"), "DONE throws")
        self.assert_stacks(report, 1000, {("complete", *stack, "main", *START): 1
                                          for stack in THROWS})
        (site,) = harness.find_sites(report, "keeps", anywhere=True)
        self.assertEqual(outline(site["frames"]),
                         ["__cxa_allocate_exception", "throws", "keeps", "main", *START])
        self.assertEqual(site["stack_end"], "complete")
        self.assertEqual(report["totals"]["live_count"], len(THROWS) + 1)
        self.assert_no_loss(report)


# Who calls whom in steps.nofp.c.
CALLERS = {
    "step_leaf": {"step_registers", "step_alloca", "step_recursion", "step_aligned",
                  "step_all"},  # step_jumps is left by a jump
    "step_recursion": {"step_recursion", "step_all"},
    "step_registers": {"step_all"},
    "step_alloca": {"step_all"},
    "step_aligned": {"step_all"},
    "step_jumps": {"step_all"},
    "steps_end": {"step_all"},
    "step_all": {"both_runs"},
}


class Steps(stacks.StackTest):
    """A handler's stack goes on in the code that it interrupted, at whatever instruction."""

    def check_step(self, site, bottom):
        """One interrupted place. Returns the name of the innermost function of the program."""
        frames = site["frames"]
        self.assertEqual(plain_name(frames[0]), "alloc_in_handler")
        self.assertTrue(in_libc(frames[1]), "the signal trampoline")
        own = [i for i, frame in enumerate(frames)
               if i > 1 and frame["module"] == frames[0]["module"] and frame["file"]]
        if site["stack_end"] == "unsupported":
            # The lazy binding's entry finds its CFA by rbx, which is not tracked.
            self.assertEqual(own, [])
            self.assertTrue(all("ld-linux" in frame["module"] for frame in frames[2:]))
            self.assertTrue(plain_name(frames[-1]).startswith("_dl_runtime_resolve"))
            return "_dl_runtime_resolve"
        self.assertEqual(site["stack_end"], "complete", harness.functions(site))
        names = [plain_name(frame) for frame in frames]
        # What the program calls in other modules lies on top of it, the start below.
        inner = own[0]
        self.assertEqual(outline(frames[inner:])[-len(bottom):], bottom)
        for callee, caller in zip(names[inner:], names[inner + 1:]):
            if callee == "both_runs":
                break
            self.assertIn(caller, CALLERS[callee], names)
        return names[inner]

    def check(self, mode, bottom):
        """Every step of one mode."""
        report = self.primed(self.victim("steps.nofp", mode), prime="DONE prime",
                             gates=["DONE steps"])
        (steps,) = self.said
        sites = self.assert_sites(report, "alloc_in_handler", steps, steps * 1000)
        seen = collections.Counter()
        for site in sites:
            if site["live_count"]:
                seen[self.check_step(site, bottom)] += 1
        # Every function was interrupted at its first instruction and at its last.
        self.assertGreaterEqual(set(seen), set(CALLERS))
        self.assertGreaterEqual(seen["step_registers"], 40)
        self.assertEqual(seen["steps_end"], 2)
        self.assertEqual(seen["step_leaf"], 5 * 2)
        self.assert_no_loss(report)

    def test_at_every_instruction(self):
        self.check("plain", ["both_runs", "main", *START])

    def test_at_every_instruction_from_a_signal_stack(self):
        self.check("alt", ["both_runs", "main", *START])

    def test_at_every_instruction_of_a_thread(self):
        self.check("thread", ["both_runs", *THREAD])
