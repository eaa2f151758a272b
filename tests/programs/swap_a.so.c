/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#define LEAK  leak_of_a
#define CALLS calls_of_a
#define ROOM  160
#include "swap.h"
