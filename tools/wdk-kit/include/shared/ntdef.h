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

#define VOID void
typedef void *PVOID;
typedef void *HANDLE;
typedef HANDLE *PHANDLE;
typedef char CHAR;
typedef char CCHAR;
typedef CHAR *PCHAR, *PSTR, *PSZ;
typedef CCHAR *PCCHAR;
typedef const CHAR *PCSTR, *LPCSTR;
typedef const char *PCSZ;
typedef short SHORT, CSHORT;
typedef SHORT *PSHORT;
typedef long LONG;
typedef LONG *PLONG;
typedef unsigned char UCHAR;
typedef UCHAR *PUCHAR;
typedef unsigned short USHORT;
typedef USHORT *PUSHORT;
typedef unsigned long ULONG;
typedef ULONG *PULONG;
typedef long long LONGLONG, LONG64, *PLONG64;
typedef LONGLONG *PLONGLONG;
typedef unsigned long long ULONGLONG, ULONG64, *PULONG64;
typedef ULONGLONG *PULONGLONG;
typedef long long LONG_PTR, INT_PTR, *PLONG_PTR;
typedef unsigned long long ULONG_PTR, UINT_PTR, *PULONG_PTR;
typedef ULONG_PTR SIZE_T, KAFFINITY, *PSIZE_T;
typedef unsigned short wchar_t;
typedef wchar_t WCHAR;
typedef WCHAR *PWCHAR, *PWCH, *PWSTR, *LPWSTR;
typedef const WCHAR *PCWSTR, *LPCWSTR;
typedef UCHAR BOOLEAN;
typedef BOOLEAN *PBOOLEAN;
typedef UCHAR KIRQL;
typedef KIRQL *PKIRQL;
typedef LONG NTSTATUS;
typedef NTSTATUS *PNTSTATUS;

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
} LARGE_INTEGER;

typedef LARGE_INTEGER *PLARGE_INTEGER;
typedef LARGE_INTEGER PHYSICAL_ADDRESS, *PPHYSICAL_ADDRESS;

typedef struct _UNICODE_STRING {
    USHORT Length;
    USHORT MaximumLength;
    PWCH Buffer;
} UNICODE_STRING;

typedef UNICODE_STRING *PUNICODE_STRING;
typedef const UNICODE_STRING *PCUNICODE_STRING;

typedef struct _LIST_ENTRY {
    struct _LIST_ENTRY *Flink;
    struct _LIST_ENTRY *Blink;
} LIST_ENTRY, *PLIST_ENTRY;

typedef struct _GUID {
    unsigned long Data1;
    unsigned short Data2;
    unsigned short Data3;
    unsigned char Data4[8];
} GUID;

typedef GUID *LPGUID;

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
