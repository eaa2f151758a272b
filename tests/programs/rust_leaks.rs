// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
// A Rust program that leaks boxes, grows vectors and frees some. Compiled by the test.
use std::hint::black_box;
use std::mem::forget;

extern "C" {
    fn read(fd: i32, bytes: *mut u8, count: usize) -> isize;
    fn write(fd: i32, bytes: *const u8, count: usize) -> isize;
}

// Says a line, as gate.h does, without allocating.
fn gate(line: &str) {
    let mut byte = [0u8; 1];
    unsafe {
        write(1, line.as_ptr(), line.len());
        read(0, byte.as_mut_ptr(), 1);
    }
}

#[inline(never)]
#[no_mangle]
pub fn leak_boxes() {
    for i in 0..503 {
        forget(black_box(Box::new([i as u8; 1013])));
    }
}

// Of each vector the first block is allocated, and then grows by realloc.
#[inline(never)]
#[no_mangle]
pub fn leak_vectors() {
    for i in 0..211u64 {
        let mut grown: Vec<u64> = Vec::with_capacity(3);
        grown.extend_from_slice(&[i, i, i]);
        grown.reserve_exact(131);
        forget(black_box(grown));
    }
}

#[inline(never)]
#[no_mangle]
pub fn drop_strings() {
    for i in 0..307 {
        drop(black_box(vec![i as u8; 1019]));
    }
}

fn main() {
    gate("READY\n");
    leak_boxes();
    leak_vectors();
    drop_strings();
    gate("DONE leaks\n");
}
