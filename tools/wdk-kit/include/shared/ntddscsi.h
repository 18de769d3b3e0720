/* Requests of programs to a miniport. Part of the kit: see ../../README.md.
   SPDX-License-Identifier: MIT OR Apache-2.0 */
#pragma once

#define IOCTL_SCSI_MINIPORT_FIRMWARE 0x1B0780

#define FIRMWARE_REQUEST_BLOCK_STRUCTURE_VERSION 0x1
#define FIRMWARE_FUNCTION_GET_INFO 0x1
#define FIRMWARE_FUNCTION_DOWNLOAD 0x2
#define FIRMWARE_FUNCTION_ACTIVATE 0x3
#define FIRMWARE_STATUS_SUCCESS 0x0
#define FIRMWARE_STATUS_ERROR 0x1
#define FIRMWARE_STATUS_ILLEGAL_REQUEST 0x2
#define FIRMWARE_STATUS_INVALID_PARAMETER 0x3

typedef struct _SRB_IO_CONTROL {
    ULONG HeaderLength;
    UCHAR Signature[8];
    ULONG Timeout;
    ULONG ControlCode;
    ULONG ReturnCode;
    ULONG Length;
} SRB_IO_CONTROL, *PSRB_IO_CONTROL;

typedef struct _FIRMWARE_REQUEST_BLOCK {
    ULONG Version;
    ULONG Size;
    ULONG Function;
    ULONG Flags;
    ULONG DataBufferOffset;
    ULONG DataBufferLength;
} FIRMWARE_REQUEST_BLOCK, *PFIRMWARE_REQUEST_BLOCK;
