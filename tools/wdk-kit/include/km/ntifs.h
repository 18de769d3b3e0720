/* Everything that storport miniports use of this header is in ntddk.h. Part of the kit: see ../../README.md.
   SPDX-License-Identifier: MIT OR Apache-2.0 */
#pragma once

#include <ntddk.h>
