/* The C header of this name, as far as the kit's own headers need it. Part of the kit: see ../../../README.md.
   SPDX-License-Identifier: MIT OR Apache-2.0 */
#pragma once

typedef unsigned long long size_t;
