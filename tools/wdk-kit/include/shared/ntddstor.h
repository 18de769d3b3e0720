/* wdk-sys reads this header; the drivers use nothing of it. Part of the kit: see ../../README.md.
   SPDX-License-Identifier: MIT OR Apache-2.0 */
#pragma once
