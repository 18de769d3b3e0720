/* Basic types of the Windows Driver Kit, as Microsoft's documentation names them. Part of the kit: see ../../README.md.
   SPDX-License-Identifier: MIT OR Apache-2.0 */
#pragma once

#include <stddef.h>

#define NTAPI __stdcall
#define NTSYSAPI __declspec(dllimport)
#define NTKERNELAPI __declspec(dllimport)
#define NTHALAPI __declspec(dllimport)
#define DECLSPEC_ALIGN(bytes) __declspec(align(bytes))
#define DECLSPEC_NORETURN __declspec(noreturn)
/* What pointers and handles are aligned to on the 64-bit architectures, the only ones the kit is for. */
#define POINTER_ALIGN DECLSPEC_ALIGN(8)

typedef void VOID;
typedef void *PVOID;
typedef PVOID HANDLE, *PHANDLE;
typedef char CHAR, CCHAR, *PCHAR, *PCCHAR, *PSTR, *PSZ;
typedef const char *PCSTR, *PCSZ, *LPCSTR;
typedef short SHORT, CSHORT, *PSHORT;
typedef long LONG, *PLONG;
typedef unsigned char UCHAR, *PUCHAR;
typedef unsigned short USHORT, *PUSHORT;
typedef unsigned long ULONG, *PULONG;
typedef long long LONGLONG, LONG64, *PLONGLONG, *PLONG64;
typedef unsigned long long ULONGLONG, ULONG64, *PULONGLONG, *PULONG64;
typedef long long LONG_PTR, INT_PTR, *PLONG_PTR;
typedef unsigned long long ULONG_PTR, UINT_PTR, *PULONG_PTR;
typedef ULONG_PTR SIZE_T, KAFFINITY, *PSIZE_T;
typedef unsigned short wchar_t;
typedef wchar_t WCHAR, *PWCHAR, *PWSTR, *LPWSTR;
typedef const wchar_t *PCWSTR, *LPCWSTR;
typedef UCHAR BOOLEAN, *PBOOLEAN;
typedef UCHAR KIRQL, *PKIRQL;
typedef LONG NTSTATUS, *PNTSTATUS;

typedef union _LARGE_INTEGER {
    struct {
        ULONG LowPart;
        LONG HighPart;
    };
    struct {
        ULONG LowPart;
        LONG HighPart;
    } u;
    LONGLONG QuadPart;
} LARGE_INTEGER, *PLARGE_INTEGER;

typedef LARGE_INTEGER PHYSICAL_ADDRESS, *PPHYSICAL_ADDRESS;

typedef struct _UNICODE_STRING {
    USHORT Length;
    USHORT MaximumLength;
    PWCHAR Buffer;
} UNICODE_STRING, *PUNICODE_STRING;

typedef const UNICODE_STRING *PCUNICODE_STRING;

typedef struct _LIST_ENTRY {
    struct _LIST_ENTRY *Flink;
    struct _LIST_ENTRY *Blink;
} LIST_ENTRY, *PLIST_ENTRY;

typedef struct _GUID {
    ULONG Data1;
    USHORT Data2;
    USHORT Data3;
    UCHAR Data4[8];
} GUID, *LPGUID;

typedef struct _PROCESSOR_NUMBER {
    USHORT Group;
    UCHAR Number;
    UCHAR Reserved;
} PROCESSOR_NUMBER, *PPROCESSOR_NUMBER;

typedef struct _GROUP_AFFINITY {
    KAFFINITY Mask;
    USHORT Group;
    USHORT Reserved[3];
} GROUP_AFFINITY, *PGROUP_AFFINITY;
