# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Where programs are."""

import os
import shutil


def which(*names):
    """The first of these programs that is there; /usr/sbin counts."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin"
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    return None
