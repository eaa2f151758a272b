// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
// A Go program that leaks C's blocks, and some of its own, which are not malloc's. Compiled by the
// test.
package main

/*
#include <stdlib.h>

static void *leak_c(size_t bytes) { return malloc(bytes); }
*/
import "C"
import "os"
import "unsafe"

var kept []unsafe.Pointer
var own [][]byte

func gate(line string) {
	os.Stdout.WriteString(line + "\n")
	var one [1]byte
	os.Stdin.Read(one[:])
}

//go:noinline
func leakFromGo() {
	for i := 0; i < 401; i++ {
		kept = append(kept, C.malloc(1021))
	}
}

//go:noinline
func leakFromC() {
	for i := 0; i < 307; i++ {
		kept = append(kept, C.leak_c(1031))
	}
}

//go:noinline
func freeSome() {
	for i := 0; i < 101; i++ {
		C.free(kept[i])
	}
	for i := 0; i < 53; i++ {
		C.free(unsafe.Pointer(C.CString("a string of Go's, copied for C")))
	}
}

func main() {
	gate("READY")
	for i := 0; i < 1009; i++ {
		own = append(own, make([]byte, 1033))
	}
	leakFromGo()
	leakFromC()
	freeSome()
	gate("DONE leaks")
}
