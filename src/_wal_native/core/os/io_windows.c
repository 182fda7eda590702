/* The I/O table over Windows calls: Windows 10 and later.
 *
 * What a flush means there: FlushFileBuffers writes a file's bytes and metadata and tells the
 * drive to empty its cache. On NTFS it also writes the journal up to and including the file's last
 * change, hence every change of names before it. A rename goes over a handle that writes through,
 * so that it is in the journal when the call returns; flushing a directory's handle comes on top.
 *
 * All files except the lock file are opened so that other processes may read, rename and
 * remove them while they are open, as on POSIX systems. A removed or replaced name is free at
 * once: where the file system knows POSIX semantics (NTFS does) in one step; elsewhere a removed
 * file gets another name until the last handle is closed, and an open file can't be replaced. */
#if defined(_WIN32)

#undef _WIN32_WINNT
#undef NTDDI_VERSION
#define _WIN32_WINNT 0x0A00
#define NTDDI_VERSION 0x0A000006   /* renaming and removing with POSIX semantics */
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX

#include "os/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <windows.h>

#include <bcrypt.h>
#include <sddl.h>

#include "base/crc32c.h"
#include "base/limits.h"

/* The size of a path made absolute, with its prefix. */
enum { WIDE_SIZE = AQW_PATH_SIZE_MAX + 320 };

/* A virus scanner or an indexer that has just seen a new file may hold it for a moment in a way
 * that keeps every other process out. */
enum { TRIES_MAX = 20, PAUSE_MS = 10 };

static const DWORD share_all = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

/* The lock is one byte far after the lock file's text: Windows would not let other
 * processes read a locked byte. */
static const DWORD lock_offset_low = 0xfffffffe, lock_offset_high = 0x7fffffff;

/* ---- Errors ---- */

static const struct {
    DWORD windows;
    int errno_value;
} errors[] = {
    {ERROR_FILE_NOT_FOUND, ENOENT},
    {ERROR_PATH_NOT_FOUND, ENOENT},
    {ERROR_INVALID_DRIVE, ENOENT},
    {ERROR_BAD_NETPATH, ENOENT},
    {ERROR_BAD_NET_NAME, ENOENT},
    {ERROR_INVALID_NAME, ENOENT},
    {ERROR_BAD_PATHNAME, ENOENT},
    {ERROR_FILE_EXISTS, EEXIST},
    {ERROR_ALREADY_EXISTS, EEXIST},
    {ERROR_DIRECTORY, ENOTDIR},
    {ERROR_DIR_NOT_EMPTY, ENOTEMPTY},
    {ERROR_ACCESS_DENIED, EACCES},
    {ERROR_PRIVILEGE_NOT_HELD, EACCES},
    {ERROR_DELETE_PENDING, EACCES},
    {ERROR_SHARING_VIOLATION, EBUSY},
    {ERROR_BUSY, EBUSY},
    {ERROR_USER_MAPPED_FILE, EBUSY},
    {ERROR_LOCK_VIOLATION, EAGAIN},
    {ERROR_IO_PENDING, EAGAIN},
    {ERROR_WRITE_PROTECT, EROFS},
    {ERROR_DISK_FULL, ENOSPC},
    {ERROR_HANDLE_DISK_FULL, ENOSPC},
    {ERROR_DISK_QUOTA_EXCEEDED, ENOSPC},
    {ERROR_FILE_TOO_LARGE, EFBIG},
    {ERROR_TOO_MANY_OPEN_FILES, EMFILE},
    {ERROR_NOT_ENOUGH_MEMORY, ENOMEM},
    {ERROR_OUTOFMEMORY, ENOMEM},
    {ERROR_COMMITMENT_LIMIT, ENOMEM},
    {ERROR_NO_SYSTEM_RESOURCES, ENOMEM},
    {ERROR_FILENAME_EXCED_RANGE, ENAMETOOLONG},
    {ERROR_BUFFER_OVERFLOW, ENAMETOOLONG},
    {ERROR_INSUFFICIENT_BUFFER, ENAMETOOLONG},
    {ERROR_NO_UNICODE_TRANSLATION, EILSEQ},
    {ERROR_CANT_RESOLVE_FILENAME, ELOOP},
    {ERROR_INVALID_HANDLE, EBADF},
    {ERROR_INVALID_PARAMETER, EINVAL},
    {ERROR_INVALID_FUNCTION, ENOTSUP},
    {ERROR_NOT_SUPPORTED, ENOTSUP},
    {ERROR_CALL_NOT_IMPLEMENTED, ENOTSUP},
    {ERROR_NOT_SAME_DEVICE, EXDEV},
};

static int errno_of(DWORD error) {
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i].windows == error) return errors[i].errno_value;
    return EIO;   /* a failing device has dozens of codes of its own */
}

static int last_error(void) { return errno_of(GetLastError()); }

static int result(BOOL succeeded) { return succeeded ? 0 : last_error(); }

/* Returns 1 where the last error says that the file system does not know the call. */
static int is_unknown_call(void) {
    int error = last_error();
    return error == ENOTSUP || error == EINVAL;
}

/* Returns 1 where a call that failed with the last error is worth another try, after a short
 * wait. */
static int is_worth_a_try(int *tries) {
    DWORD error = GetLastError();
    if ((error != ERROR_SHARING_VIOLATION && error != ERROR_ACCESS_DENIED) || ++*tries >= TRIES_MAX)
        return 0;
    Sleep(PAUSE_MS);
    return 1;
}

/* ---- Paths and handles ---- */

static HANDLE file_of(int64_t handle) { return (HANDLE)(intptr_t)handle; }

/* Makes the path absolute, in the form in which Windows neither looks for short cuts nor limits it
 * to 260 characters. */
static int make_absolute(const char *path, WCHAR to[WIDE_SIZE]) {
    WCHAR given[WIDE_SIZE], full[WIDE_SIZE];
    int size = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, given, WIDE_SIZE - 1);
    if (size == 0) return last_error();
    /* "C:" alone would mean its working directory */
    if (size == 3 && given[1] == L':') wcscpy(given + 2, L"\\");
    DWORD length = GetFullPathNameW(given, WIDE_SIZE - 8, full, NULL);
    if (length == 0) return last_error();
    if (length >= WIDE_SIZE - 8) return ENAMETOOLONG;
    int is_share = wcsncmp(full, L"\\\\", 2) == 0;
    int is_final = is_share && (full[2] == L'?' || full[2] == L'.') && full[3] == L'\\';
    wcscpy(to, is_final ? L"" : is_share ? L"\\\\?\\UNC" : L"\\\\?\\");
    wcscat(to, is_share && !is_final ? full + 1 : full);
    return 0;
}

static HANDLE open_shared(const WCHAR *path, DWORD access, DWORD share, DWORD how, DWORD flags) {
    return CreateFileW(path, access, share, NULL, how, flags | FILE_FLAG_OPEN_REPARSE_POINT, NULL);
}

static HANDLE open_wide(const WCHAR *path, DWORD access, DWORD how, DWORD flags) {
    return open_shared(path, access, share_all, how, flags);
}

/* Returns 1 for a junction or symlink: these lead elsewhere by their names. A volume that an
 * administrator mounted on a folder, or a folder that a cloud keeps in step, is where it is. */
static int is_link(const WCHAR *path, const FILE_ATTRIBUTE_TAG_INFO *information) {
    WCHAR folder[WIDE_SIZE + 1], volume[64];
    if (!(information->FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) ||
        !IsReparseTagNameSurrogate(information->ReparseTag))
        return 0;
    wcscpy(folder, path);
    wcscat(folder, L"\\");
    return information->ReparseTag != IO_REPARSE_TAG_MOUNT_POINT ||
           !GetVolumeNameForVolumeMountPointW(folder, volume, 64);
}

/* Returns 0 for a directory, ELOOP for a link, ENOTDIR for anything else. */
static int check_directory(const WCHAR *path) {
    FILE_ATTRIBUTE_TAG_INFO information;
    HANDLE handle = open_wide(path, FILE_READ_ATTRIBUTES, OPEN_EXISTING,
                              FILE_FLAG_BACKUP_SEMANTICS);
    if (handle == INVALID_HANDLE_VALUE) return last_error();
    int error = result(GetFileInformationByHandleEx(handle, FileAttributeTagInfo, &information,
                                                    sizeof information));
    (void)CloseHandle(handle);
    if (error != 0) return error;
    if (is_link(path, &information)) return ELOOP;
    return information.FileAttributes & FILE_ATTRIBUTE_DIRECTORY ? 0 : ENOTDIR;
}

/* Looks for links among the directories that lead to an absolute path. A directory that this
 * process may pass but not look at is not its own, so it takes that as it is. The check does not
 * stop a process that has the right to swap a directory at this very moment. */
static int check_parents(WCHAR *path) {
    WCHAR *at = path + 4;
    /* separators before the end of the first directory's name */
    int in_root = wcsncmp(at, L"UNC\\", 4) == 0 ? 3 : 1;
    for (;;) {
        at = wcschr(at, L'\\');
        if (at == NULL) return 0;
        if (in_root > 0) {
            in_root--;
        } else {
            *at = L'\0';
            int error = check_directory(path);
            *at = L'\\';
            if (error != 0 && error != EACCES) return error;
        }
        at++;
    }
}

static int widen(const char *path, WCHAR to[WIDE_SIZE]) {
    int error = make_absolute(path, to);
    return error == 0 ? check_parents(to) : error;
}

static int open_path_shared(const char *path, DWORD access, DWORD share, DWORD how, DWORD flags,
                            HANDLE *handle) {
    WCHAR wide[WIDE_SIZE];
    int error = widen(path, wide), tries = 0;
    if (error != 0) return error;
    do *handle = open_shared(wide, access, share, how, flags);
    while (*handle == INVALID_HANDLE_VALUE && GetLastError() == ERROR_SHARING_VIOLATION &&
           is_worth_a_try(&tries));
    return *handle == INVALID_HANDLE_VALUE ? last_error() : 0;
}

static int open_path(const char *path, DWORD access, DWORD how, DWORD flags, HANDLE *handle) {
    return open_path_shared(path, access, share_all, how, flags, handle);
}

/* Returns 0 where the open file is one that these flags may be used on. A link is not, nor what a
 * driver puts together only when it is opened as such. A file with a second name may be another
 * program's, so the core does not write to it. */
static int check_opened(HANDLE handle, int flags) {
    BY_HANDLE_FILE_INFORMATION information;
    if (GetFileType(handle) != FILE_TYPE_DISK) return EINVAL;
    if (!GetFileInformationByHandle(handle, &information)) return last_error();
    if (information.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) return ELOOP;
    if (information.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) return EISDIR;
    return flags != AQW_OPEN_READ && information.nNumberOfLinks > 1 ? EMLINK : 0;
}

/* ---- Files ---- */

/* Also opens a directory, to tell that it is one. A process that put a pipe there must not get to
 * act in this process's name. */
static const DWORD careful = FILE_FLAG_BACKUP_SEMANTICS | SECURITY_SQOS_PRESENT |
                             SECURITY_ANONYMOUS;

static int windows_open(void *context, const char *path, int flags, int64_t *handle) {
    (void)context;
    DWORD access = flags == AQW_OPEN_READ ? GENERIC_READ : GENERIC_READ | GENERIC_WRITE;
    DWORD how = flags & AQW_OPEN_CREATE   ? CREATE_NEW
                : flags & AQW_OPEN_EITHER ? OPEN_ALWAYS
                                          : OPEN_EXISTING;
    /* The lock file's name can't be removed or given away while it is open: a process that did that
     * would let a second writer in. */
    DWORD share = flags & AQW_OPEN_EITHER ? FILE_SHARE_READ | FILE_SHARE_WRITE : share_all;
    HANDLE opened;
    int error = open_path_shared(path, access, share, how, FILE_ATTRIBUTE_NORMAL | careful,
                                 &opened);
    if (error != 0) return error;
    error = check_opened(opened, flags);
    if (error != 0) (void)CloseHandle(opened);
    else *handle = (int64_t)(intptr_t)opened;
    return error;
}

static int windows_close(void *context, int64_t handle) {
    (void)context;
    return result(CloseHandle(file_of(handle)));
}

static OVERLAPPED position(uint64_t offset) {
    OVERLAPPED at;
    memset(&at, 0, sizeof at);
    at.Offset = (DWORD)offset;
    at.OffsetHigh = (DWORD)(offset >> 32);
    return at;
}

/* One call moves at most 1 GiB. */
static DWORD portion(size_t size) { return size < 1u << 30 ? (DWORD)size : 1u << 30; }

static int windows_read(void *context, int64_t handle, uint64_t offset, void *to, size_t size,
                        size_t *done) {
    (void)context;
    OVERLAPPED at = position(offset);
    DWORD count = 0;
    if (!ReadFile(file_of(handle), to, portion(size), &count, &at)) {
        if (GetLastError() != ERROR_HANDLE_EOF) return last_error();
        count = 0;
    }
    *done = count;
    return 0;
}

static int windows_write(void *context, int64_t handle, uint64_t offset, const void *from,
                         size_t size, size_t *done) {
    (void)context;
    OVERLAPPED at = position(offset);
    DWORD count = 0;
    if (!WriteFile(file_of(handle), from, portion(size), &count, &at)) return last_error();
    *done = count;
    return 0;
}

static int windows_sync(void *context, int64_t handle) {
    (void)context;
    return result(FlushFileBuffers(file_of(handle)));
}

static int windows_writeback(void *context, int64_t handle, uint64_t offset, uint64_t size) {
    (void)context, (void)handle, (void)offset, (void)size;
    return 0;   /* there is no such call; the system's lazy writer begins within a second */
}

static int windows_truncate(void *context, int64_t handle, uint64_t size) {
    (void)context;
    FILE_END_OF_FILE_INFO end;
    end.EndOfFile.QuadPart = (LONGLONG)size;
    return result(SetFileInformationByHandle(file_of(handle), FileEndOfFileInfo, &end, sizeof end));
}

static int windows_size(void *context, int64_t handle, uint64_t *size) {
    (void)context;
    LARGE_INTEGER found;
    if (!GetFileSizeEx(file_of(handle), &found)) return last_error();
    *size = (uint64_t)found.QuadPart;
    return 0;
}

/* ---- Names ---- */

static BOOL rename_handle(HANDLE handle, const WCHAR *to, FILE_INFO_BY_HANDLE_CLASS how,
                          DWORD flags) {
    union {
        FILE_RENAME_INFO information;
        uint8_t room[sizeof(FILE_RENAME_INFO) + WIDE_SIZE * sizeof(WCHAR)];
    } request;
    memset(&request.information, 0, sizeof request.information);
    request.information.Flags = flags;
    request.information.FileNameLength = (DWORD)(wcslen(to) * sizeof(WCHAR));
    memcpy(request.information.FileName, to, request.information.FileNameLength + sizeof(WCHAR));
    return SetFileInformationByHandle(handle, how, &request, sizeof request);
}

static int rename_once(const WCHAR *from, const WCHAR *to) {
    HANDLE handle = open_wide(from, DELETE | SYNCHRONIZE, OPEN_EXISTING,
                              FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_WRITE_THROUGH);
    if (handle == INVALID_HANDLE_VALUE) return 0;
    /* These flags free the old file's name at once, even while another process reads the file. */
    BOOL renamed = rename_handle(handle, to, FileRenameInfoEx,
                                 FILE_RENAME_FLAG_REPLACE_IF_EXISTS |
                                     FILE_RENAME_FLAG_POSIX_SEMANTICS);
    DWORD error = GetLastError();
    (void)CloseHandle(handle);
    SetLastError(error);
    return renamed || (is_unknown_call() &&
                       MoveFileExW(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH));
}

static int windows_rename(void *context, const char *from, const char *to) {
    (void)context;
    WCHAR wide_from[WIDE_SIZE], wide_to[WIDE_SIZE];
    int tries = 0, error = widen(from, wide_from);
    if (error == 0) error = widen(to, wide_to);
    if (error != 0) return error;
    while (!rename_once(wide_from, wide_to))
        if (!is_worth_a_try(&tries)) return last_error();
    return 0;
}

/* The last part of a name that a removed file has until the last handle to it is closed. */
enum { REMOVED_SIZE = sizeof ".removed-" - 1 + 16 };

static int name_removed(const char *path, WCHAR to[WIDE_SIZE]) {
    uint64_t random;
    int error = widen(path, to);
    if (error != 0) return error;
    size_t length = wcslen(to);
    if (length + REMOVED_SIZE >= WIDE_SIZE) return ENAMETOOLONG;
    if (BCryptGenRandom(NULL, (PUCHAR)&random, sizeof random, BCRYPT_USE_SYSTEM_PREFERRED_RNG) < 0)
        return EIO;
    wcscpy(to + length, L".removed-");
    for (WCHAR *at = to + length + REMOVED_SIZE - 16; at < to + length + REMOVED_SIZE; at++) {
        *at = L"0123456789abcdef"[random & 15];
        random >>= 4;
    }
    to[length + REMOVED_SIZE] = 0;
    return 0;
}

/* Removes a file where the file system does not know POSIX semantics. Its name would stay, and
 * could not be opened, while another process has the file open: a reader would see a segment that
 * is gone between others that are there. So the file gets another name first. It is removed with
 * the handle, so also if this process is killed in between. */
static int remove_later(const char *path) {
    HANDLE handle;
    WCHAR aside[WIDE_SIZE];
    int error = name_removed(path, aside);
    if (error == 0)
        error = open_path(path, DELETE | SYNCHRONIZE, OPEN_EXISTING, FILE_FLAG_DELETE_ON_CLOSE,
                          &handle);
    if (error != 0) return error;
    (void)rename_handle(handle, aside, FileRenameInfo, 0);   /* without it, the name stays longer */
    (void)CloseHandle(handle);
    return 0;
}

static int windows_unlink(void *context, const char *path) {
    (void)context;
    HANDLE handle;
    int error = open_path(path, DELETE | SYNCHRONIZE, OPEN_EXISTING, 0, &handle);
    if (error != 0) return error;
    FILE_DISPOSITION_INFO_EX at_once = {FILE_DISPOSITION_FLAG_DELETE |
                                        FILE_DISPOSITION_FLAG_POSIX_SEMANTICS};
    BOOL removed = SetFileInformationByHandle(handle, FileDispositionInfoEx, &at_once,
                                              sizeof at_once);
    int is_unknown = !removed && is_unknown_call();
    error = result(removed);
    (void)CloseHandle(handle);
    return is_unknown ? remove_later(path) : error;
}

/* ---- Directories ---- */

/* Says what mode 0700 says elsewhere: the system, administrators and the owner have access, here
 * and in what is made below; nothing is inherited from above. */
static const WCHAR private_access[] = L"D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;S-1-3-4)";

static int windows_make_directory(void *context, const char *path) {
    (void)context;
    WCHAR wide[WIDE_SIZE];
    int error = widen(path, wide);
    if (error != 0) return error;
    SECURITY_ATTRIBUTES attributes = {sizeof attributes, NULL, FALSE};
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(
            private_access, SDDL_REVISION_1, &attributes.lpSecurityDescriptor, NULL))
        return last_error();
    error = result(CreateDirectoryW(wide, &attributes));
    (void)LocalFree(attributes.lpSecurityDescriptor);
    return error;
}

static int windows_check_directory(void *context, const char *path) {
    (void)context;
    WCHAR wide[WIDE_SIZE];
    int error = widen(path, wide);
    if (error != 0) return error;
    error = check_directory(wide);
    return error == ELOOP ? ENOTDIR : error;
}

/* Asks for the least right that both lets a handle be flushed and belongs to every process that
 * could make a directory here. Where the file system has no flush for directories, its journal has
 * to do: see the head of this file. */
static int windows_sync_directory(void *context, const char *path) {
    (void)context;
    HANDLE handle;
    int error = open_path(path, FILE_ADD_SUBDIRECTORY | SYNCHRONIZE, OPEN_EXISTING,
                          FILE_FLAG_BACKUP_SEMANTICS, &handle);
    if (error != 0) return error;
    error = result(FlushFileBuffers(handle));
    (void)CloseHandle(handle);
    return error == ENOTSUP || error == EINVAL || error == EACCES || error == EBADF ? 0 : error;
}

static int windows_list(void *context, const char *path, aqw_list_visit visit, void *to) {
    (void)context;
    WCHAR wide[WIDE_SIZE];
    WIN32_FIND_DATAW entry;
    char name[3 * MAX_PATH + 1];
    int error = widen(path, wide);
    if (error != 0) return error;
    if (wcslen(wide) + 3 > WIDE_SIZE) return ENAMETOOLONG;
    wcscat(wide, L"\\*");
    HANDLE found = FindFirstFileW(wide, &entry);
    if (found == INVALID_HANDLE_VALUE) return last_error();
    do {
        /* A name that is no text turns into one that the queue does not use. */
        if (WideCharToMultiByte(CP_UTF8, 0, entry.cFileName, -1, name, sizeof name,
                                NULL, NULL) == 0) error = last_error();
        else if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) visit(to, name);
    } while (error == 0 && FindNextFileW(found, &entry));
    if (error == 0 && GetLastError() != ERROR_NO_MORE_FILES) error = last_error();
    (void)FindClose(found);
    return error;
}

/* ---- Mapping ---- */

/* Trusts local NTFS and ReFS only, and only where every byte has its place on the disk: elsewhere a
 * store may fail, or not reach other processes. */
static int mapping_is_trusted(HANDLE handle) {
    WCHAR name[MAX_PATH + 1];
    FILE_REMOTE_PROTOCOL_INFO remote;
    BY_HANDLE_FILE_INFORMATION information;
    const DWORD without_place = FILE_ATTRIBUTE_COMPRESSED | FILE_ATTRIBUTE_SPARSE_FILE |
                                FILE_ATTRIBUTE_INTEGRITY_STREAM;
    if (GetFileInformationByHandleEx(handle, FileRemoteProtocolInfo, &remote, sizeof remote))
        return 0;
    if (!GetFileInformationByHandle(handle, &information) ||
        (information.dwFileAttributes & without_place) != 0)
        return 0;
    if (!GetVolumeInformationByHandleW(handle, NULL, 0, NULL, NULL, NULL, name, MAX_PATH + 1))
        return 0;
    return wcscmp(name, L"NTFS") == 0 || wcscmp(name, L"ReFS") == 0;
}

static int windows_map(void *context, int64_t handle, size_t size, void **address) {
    (void)context;
    if (!mapping_is_trusted(file_of(handle))) return ENOTSUP;
    uint64_t wide = size;
    HANDLE mapping = CreateFileMappingW(file_of(handle), NULL, PAGE_READWRITE, (DWORD)(wide >> 32),
                                        (DWORD)wide, NULL);
    if (mapping == NULL) return last_error();
    *address = MapViewOfFile(mapping, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, size);
    int error = *address == NULL ? last_error() : 0;
    (void)CloseHandle(mapping);   /* the view keeps what it needs */
    return error;
}

static int windows_unmap(void *context, void *address, size_t size) {
    (void)context, (void)size;
    return result(UnmapViewOfFile(address));
}

/* ---- The lock ---- */

static int lock_byte(HANDLE handle, DWORD flags) {
    OVERLAPPED at = position((uint64_t)lock_offset_high << 32 | lock_offset_low);
    return result(LockFileEx(handle, flags | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at));
}

static int unlock_byte(HANDLE handle) {
    OVERLAPPED at = position((uint64_t)lock_offset_high << 32 | lock_offset_low);
    return result(UnlockFileEx(handle, 0, 1, 0, &at));
}

static int windows_lock(void *context, int64_t handle) {
    (void)context;
    return lock_byte(file_of(handle), LOCKFILE_EXCLUSIVE_LOCK);
}

static int windows_unlock(void *context, int64_t handle) {
    (void)context;
    return unlock_byte(file_of(handle));
}

/* A directory's handle takes no lock here. The lock file's name is safe by itself: see
 * windows_open. */
static int windows_lock_directory(void *context, const char *path, int64_t *handle) {
    (void)context, (void)path, (void)handle;
    return ENOTSUP;
}

static int windows_probe_lock(void *context, const char *path) {
    (void)context;
    HANDLE handle;
    int error = open_path(path, GENERIC_READ, OPEN_EXISTING, careful, &handle);
    if (error != 0) return error;
    error = lock_byte(handle, 0);
    if (error == 0) (void)unlock_byte(handle);   /* the close alone would end it some time later */
    (void)CloseHandle(handle);
    return error;
}

/* ReFS has 128-bit numbers; FAT knows only the call for the shorter ones. */
static int identify(HANDLE handle, FILE_ID_INFO *id) {
    if (GetFileInformationByHandleEx(handle, FileIdInfo, id, sizeof *id)) return 0;
    BY_HANDLE_FILE_INFORMATION information;
    if (!GetFileInformationByHandle(handle, &information)) return last_error();
    memset(id, 0, sizeof *id);
    id->VolumeSerialNumber = information.dwVolumeSerialNumber;
    memcpy(id->FileId.Identifier, &information.nFileIndexHigh, sizeof information.nFileIndexHigh);
    memcpy(id->FileId.Identifier + 8, &information.nFileIndexLow, sizeof information.nFileIndexLow);
    return 0;
}

static int windows_check_same(void *context, int64_t handle, const char *path) {
    (void)context;
    FILE_ID_INFO mine, named;
    HANDLE other;
    int error = open_path(path, FILE_READ_ATTRIBUTES, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS,
                          &other);
    if (error != 0) return error == ENOENT ? ESTALE : error;
    error = identify(other, &named);
    (void)CloseHandle(other);
    if (error == 0) error = identify(file_of(handle), &mine);
    if (error != 0) return error;
    int is_same = mine.VolumeSerialNumber == named.VolumeSerialNumber &&
                  memcmp(&mine.FileId, &named.FileId, sizeof mine.FileId) == 0;
    return is_same ? 0 : ESTALE;
}

/* No directory is ever opened here, because windows_lock_directory never opens one. */
static int windows_check_named(void *context, int64_t handle, int64_t folder, const char *name) {
    (void)context;
    (void)handle;
    (void)folder;
    (void)name;
    return ENOTSUP;
}

/* The number of a file on NTFS counts how often its place was used, and ReFS gives no number twice:
 * it tells a file from a later one. The time of creation does not stay: a file gets that of another
 * file which had its new name a moment ago (tunneling). */
static int windows_identity(void *context, int64_t handle, uint32_t *identity) {
    (void)context;
    FILE_ID_INFO id;
    int error = identify(file_of(handle), &id);
    if (error != 0) return error;
    *identity = aqw_crc32c(&id.FileId, sizeof id.FileId);
    return 0;
}

static int windows_random(void *context, void *to, size_t size) {
    (void)context;
    return BCryptGenRandom(NULL, to, (ULONG)size, BCRYPT_USE_SYSTEM_PREFERRED_RNG) >= 0 ? 0 : EIO;
}

static const aqw_io table = {
    .context = NULL,
    .open = windows_open,
    .close = windows_close,
    .read = windows_read,
    .write = windows_write,
    .sync = windows_sync,
    .writeback = windows_writeback,
    .truncate = windows_truncate,
    .size = windows_size,
    .rename = windows_rename,
    .unlink = windows_unlink,
    .make_directory = windows_make_directory,
    .check_directory = windows_check_directory,
    .sync_directory = windows_sync_directory,
    .list = windows_list,
    .map = windows_map,
    .unmap = windows_unmap,
    .lock = windows_lock,
    .lock_directory = windows_lock_directory,
    .unlock = windows_unlock,
    .probe_lock = windows_probe_lock,
    .check_same = windows_check_same,
    .check_named = windows_check_named,
    .identity = windows_identity,
    .random = windows_random,
};

const aqw_io *aqw_io_system(void) { return &table; }

#else
/* ISO C wants at least one declaration in a file. */
typedef int aqw_io_windows_is_empty;
#endif
