# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: frames have the names, files and lines that a person would give them."""

import os
import shutil
import subprocess

import harness

SOURCE = "symbols.c"


class Symbols(harness.LiveTest):
    """symbols.c and its library."""

    def trace_symbols(self, *args, path=None, gates=("DONE leaks",)):
        """The last report after these gates. A library is known before it allocates."""
        victim = self.victim("symbols", *args, path=path)
        tool = self.unfreed("-p", victim.pid, interval="50ms")
        if args:
            victim.go("DONE load")
            tool.fresh_report()
        for gate in gates:
            victim.go(gate)
        return tool.last_report()

    def assert_frames(self, site, *expected, source=SOURCE):
        """The first frames are these (function, line, inlined), all of one source file."""
        frames = site["frames"][:len(expected)]
        self.assertEqual([(frame["function"], frame["line"], frame["inlined"])
                          for frame in frames], list(expected))
        for frame in frames:
            self.assertEqual(os.path.basename(frame["file"]), source)
            self.assertEqual(frame["kind"], "native")

    def test_a_chain_of_calls_has_each_callers_line(self):
        site = self.assert_site(self.trace_symbols(), "chain_3", 821, 821 * 821, 821, 0)
        self.assert_frames(site, *((name, harness.line_of(SOURCE, name), False)
                                   for name in ("chain_3", "chain_2", "chain_1", "main")))

    def test_start_up_frames_stay_and_the_allocators_do_not(self):
        report = self.trace_symbols()
        frames = self.site_by(report, "chain_3")["frames"]
        below = [frame for frame in frames[4:] if "/libc" in frame["module"]]
        self.assertTrue(below, f"nothing of libc called main: {frames}")
        for site in report["sites"]:
            self.assertNotIn("malloc", site["frames"][0]["function"])

    def test_the_outermost_frame_is_start(self):
        site = self.site_by(self.trace_symbols(), "chain_3")
        self.assertEqual(site["frames"][-1]["function"], "_start")
        self.assertEqual(site["stack_end"], "complete")

    def test_inlined_functions_are_frames(self):
        site = self.assert_site(self.trace_symbols(), "inlined_inner", 823, 823 * 823, 823, 0)
        self.assert_frames(site,
                           ("inlined_inner", harness.line_of(SOURCE, "inlined_inner"), True),
                           ("inlined_outer", harness.line_of(SOURCE, "inlined_outer"), True),
                           ("calls_inlined", harness.line_of(SOURCE, "calls_inlined"), False))

    def test_static_functions_have_names(self):
        site = self.assert_site(self.trace_symbols(), "static_function", 827, 827 * 827, 827, 0)
        self.assert_frames(site, ("static_function", harness.line_of(SOURCE, "static_function"),
                                  False))

    def test_a_stack_that_is_too_deep_is_cut_and_says_so(self):
        report = self.trace_symbols()
        sites = sorted((len(site["frames"]), site["stack_end"])
                       for site in harness.find_sites(report, "deep"))
        self.assertEqual(len(sites), 2, harness.describe(report))
        self.assertTrue(50 < sites[0][0] < 60, sites)
        self.assertEqual(sites[1], (127, "depth"))

    def test_a_library_loaded_during_the_trace(self):
        report = self.trace_symbols(harness.program("plugin.so"))
        site = self.assert_site(report, "plugin_leak", 811, 811 * 811, 811, 0)
        self.assertEqual(site["stack_end"], "complete")
        self.assert_frames({"frames": site["frames"][:1]},
                           ("plugin_leak", harness.line_of("plugin.so.c", "plugin_leak"), False),
                           source="plugin.so.c")
        self.assert_frames({"frames": site["frames"][1:]},
                           ("use_library", harness.line_of(SOURCE, "use_library"), False))
        site = self.assert_site(report, "called_back", 829, 829 * 829, 829, 0)
        self.assertEqual(site["stack_end"], "complete")
        self.assertEqual(harness.functions(site)[:4],
                         ["called_back", "plugin_calls", "use_library", "main"])
        self.assertTrue(site["frames"][1]["module"].endswith("/plugin.so"))

    def test_a_library_unloaded_before_the_report(self):
        report = self.trace_symbols(harness.program("plugin.so"),
                                    gates=("DONE leaks", "DONE unload"))
        site = self.assert_site(report, "plugin_leak", 811, 811 * 811, 811, 0)
        self.assertEqual(harness.functions(site)[:3], ["plugin_leak", "use_library", "main"])

    def test_a_library_that_allocates_as_soon_as_it_is_loaded(self):
        """What it allocated counts, whatever of the stacks was known by then."""
        report = self.trace(self.victim("symbols", harness.program("plugin.so")),
                            "DONE load", "DONE leaks", "DONE unload")
        for site in self.assert_loaded(report, "plugin_leak", 811, 811 * 811):
            self.assertEqual(harness.functions(site)[:3],
                             ["plugin_leak", "use_library", "main"][:len(site["frames"])])
        self.assert_loaded(report, "called_back", 829, 829 * 829)
        self.assert_no_loss(report)

    def copy(self, name):
        """A victim of our own, to be deleted."""
        path = os.path.join(self.folder, name)
        shutil.copy(harness.program(name), path)
        return path

    def test_a_deleted_executable_has_names_and_lines(self):
        path = self.copy("symbols")
        victim = self.victim("symbols", path=path)
        os.unlink(path)
        site = self.assert_site(self.trace(victim, "DONE leaks"), "chain_3", 821, 821 * 821)
        self.assert_frames(site, ("chain_3", harness.line_of(SOURCE, "chain_3"), False),
                           ("chain_2", harness.line_of(SOURCE, "chain_2"), False))

    def test_another_file_in_a_deleted_ones_place_is_not_mistaken_for_it(self):
        path = self.copy("symbols")
        victim = self.victim("symbols", path=path)
        os.unlink(path)
        shutil.copy(harness.program("sites"), path)
        self.assert_site(self.trace(victim, "DONE leaks"), "chain_3", 821, 821 * 821)

    def test_a_name_that_looks_deleted_is_not(self):
        path = os.path.join(self.folder, "symbols (deleted)")
        shutil.copy(harness.program("symbols"), path)
        site = self.assert_site(self.trace_symbols(path=path), "chain_3", 821, 821 * 821)
        self.assertEqual(site["frames"][0]["module"], path)

    def test_odd_file_names_do_no_harm(self):
        """Reports stay JSON, and no escape sequence reaches a terminal."""
        for name in (b'q"uote\\', b"esc\x1b[31m", b"line\nbreak", b"not utf-8 \xff\xfe",
                     b"\xc3\xa9"):
            with self.subTest(name=name):
                path = os.path.join(os.fsencode(self.folder), name)
                shutil.copy(harness.program("symbols"), path)
                victim = self.victim("symbols", path=path)
                text = self.unfreed("-p", victim.pid, fmt="text", top=5)
                report = self.trace(victim, "DONE leaks")
                self.assert_site(report, "chain_3", 821, 821 * 821)
                text.stop()
                self.assertIn("chain_3", text.text())
                self.assertEqual(text.text().count("\x1b"), 0)
                self.assertNotIn("\x1b", "\n".join(text.stderr.all))

    def test_a_program_that_only_its_own_mounts_have(self):
        """Its path is nothing here, or something else: as in a container."""
        inner = os.path.join(self.folder, "inner")
        os.mkdir(inner)
        shutil.copy(harness.program("sites"), os.path.join(inner, "symbols"))
        script = 'mount -t tmpfs none "$1" && cp "$2" "$1/symbols" && exec "$1/symbols"'
        unshare = self.victim("symbols", "-m", "-p", "-f", "--mount-proc", "/bin/sh", "-c", script,
                              "sh", inner, harness.program("symbols"), path="/usr/bin/unshare")
        pid = harness.descendants(unshare.pid)[-1]
        tool = self.unfreed("-p", pid)
        unshare.go("DONE leaks")
        report = tool.last_report()
        site = self.assert_site(report, "chain_3", 821, 821 * 821, pid=pid)
        self.assert_frames(site, ("chain_3", harness.line_of(SOURCE, "chain_3"), False))

    def test_a_stripped_program_has_modules_and_offsets(self):
        path = self.copy("symbols")
        subprocess.run(["strip", path], check=True)
        report = self.trace_symbols(path=path)
        site = [site for site in report["sites"] if site["live_bytes"] == 821 * 821]
        self.assertEqual(len(site), 1, harness.describe(report))
        frame = site[0]["frames"][0]
        self.assertEqual(frame["module"], path)
        self.assertGreater(frame["offset"], 0)
        self.assertNotEqual(frame["build_id"], "")
        self.assertEqual((frame["file"], frame["line"]), ("", None))

    def test_offsets_and_build_ids_are_the_files_own(self):
        report = self.trace_symbols()
        frame = self.site_by(report, "chain_3")["frames"][0]
        with open(harness.program("symbols"), "rb") as data:
            content = data.read()
        self.assertIn(bytes.fromhex(frame["build_id"]), content)
        # A return address: the call before it is e8 and four bytes (or ff 15 and four).
        call = content[frame["offset"] - 6:frame["offset"]]
        self.assertTrue(call[1] == 0xe8 or call[:2] == b"\xff\x15", call.hex())
