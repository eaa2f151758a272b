/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#define LEAK  leak_of_b
#define CALLS calls_of_b
#define ROOM  224
#include "swap.h"
