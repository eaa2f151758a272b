/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#define LEAK leak_of_a
#include "twin.h"
