// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
'use strict';
// jit.js SECONDS: functions that V8 compiles, which end in native allocations.
const zlib = require('zlib');
const crypto = require('crypto');
const fs = require('fs');
const vm = require('vm');

const kept = new Array(64);
let next = 0;

function keep(value) {
	kept[next++ % kept.length] = value;
	return next;
}

function leaf(n) {
	switch (n % 7) {
	case 0: return keep(new ArrayBuffer(10000 + n));
	case 1: return keep(Buffer.allocUnsafeSlow(9000 + n));
	case 2: return keep(zlib.deflateSync(Buffer.alloc(5000, n)));
	case 3: return keep(crypto.createHash('sha256').update('x' + n).digest('hex'));
	case 4: return keep(JSON.parse(JSON.stringify({a: [n, n + 1, 'text'.repeat(50)]})));
	case 5: return keep(fs.statSync('/').size);
	default: return keep(new RegExp('a+' + n).exec('aaaa'));
	}
}

function recurse(n, depth) {
	return depth ? recurse(n, depth - 1) + 1 : leaf(n);
}

class Shape {
	constructor(n) { this.n = n; }
	area() { return [1, 2, 3].map((i) => recurse(this.n + i, 3)).reduce((a, b) => a + b, 0); }
}

function* numbers(n) {
	for (let i = 0; i < 5; i++)
		yield recurse(n + i, i);
}

function sorted(n) {
	return [5, 3, 8, 1].sort((a, b) => { leaf(n + a); return a - b; });
}

function failing(n) {
	try {
		throw new Error('x'.repeat(n % 100));
	} catch (error) {
		return leaf(n) + error.stack.length;
	}
}

function turn(n) {
	new Shape(n).area();
	sorted(n);
	failing(n);
	for (const i of numbers(n))
		keep(i);
	'one two three'.replace(/\w+/g, (word) => word + leaf(n));
	if (n % 500 === 0)
		vm.runInNewContext('let s = 0; for (let i = 0; i < 100; i++) s += i; s');
}

const end = Date.now() + 1000 * Number(process.argv[2] || 10);
let n = 0;

function later() {
	for (let i = 0; i < 50; i++)
		turn(n++);
	if (Date.now() < end)
		setImmediate(later);
}

later();
