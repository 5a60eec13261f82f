/*
 * The little that portolan-cni.c takes of a C library, without one: system calls, a start, and text.
 *
 * A static GNU program spends 0.35 ms, most of the client's own time, on setting up a library of which a dozen
 * functions are used (27 page faults against 8). Linux on x86-64 and 64-bit ARM; elsewhere the library serves.
 * The functions have the library's names and meaning, so that the program is the same with either.
 */
#ifndef PORTOLAN_FREESTANDING_H
#define PORTOLAN_FREESTANDING_H

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char **environment;
static int last_error;

/* What <errno.h> makes of `errno`. */
int *__errno_location(void) { return &last_error; }

#if defined(__x86_64__)
__asm__(".globl _start\n"
        "_start:\n"
        "  xor %ebp, %ebp\n"
        "  mov %rsp, %rdi\n"
        "  and $-16, %rsp\n"
        "  call begin\n");

static long system_call(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n"
        "_start:\n"
        "  mov x29, #0\n"
        "  mov x30, #0\n"
        "  mov x0, sp\n"
        "  and sp, x0, #-16\n"
        "  b begin\n");

static long system_call(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc #0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
}
#else
#error "no start and no system calls for this machine: build with a C library"
#endif

int main(void);

/* `stack` as the kernel leaves it: the number of arguments, they, a null pointer, the environment. */
__attribute__((noreturn, used)) void begin(long *stack) {
  environment = (char **)(stack + stack[0] + 2);
  _exit(main());
}

static long answer_of(long result) {
  if (result >= 0) return result;
  last_error = (int)-result;
  return -1;
}

void _exit(int code) {
  for (;;) system_call(SYS_exit_group, code, 0, 0, 0, 0, 0);
}

ssize_t read(int fd, void *to, size_t length) {
  return answer_of(system_call(SYS_read, fd, (long)to, (long)length, 0, 0, 0));
}

ssize_t write(int fd, const void *from, size_t length) {
  return answer_of(system_call(SYS_write, fd, (long)from, (long)length, 0, 0, 0));
}

int socket(int family, int type, int protocol) {
  return (int)answer_of(system_call(SYS_socket, family, type, protocol, 0, 0, 0));
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
  return (int)answer_of(system_call(SYS_connect, fd, (long)address, length, 0, 0, 0));
}

ssize_t send(int fd, const void *from, size_t length, int flags) {
  return answer_of(system_call(SYS_sendto, fd, (long)from, (long)length, flags, 0, 0));
}

int shutdown(int fd, int how) { return (int)answer_of(system_call(SYS_shutdown, fd, how, 0, 0, 0, 0)); }

int clock_gettime(clockid_t clock, struct timespec *now) {
  return (int)answer_of(system_call(SYS_clock_gettime, clock, (long)now, 0, 0, 0, 0));
}

/* By ppoll, which every machine has. */
int poll(struct pollfd *entries, nfds_t count, int timeout_ms) {
  struct timespec left = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};
  return (int)answer_of(system_call(SYS_ppoll, (long)entries, (long)count, (long)&left, 0, 8, 0));
}

/* The compiler must not make calls of themselves of the loops in here. */
#define AS_WRITTEN __attribute__((optimize("no-tree-loop-distribute-patterns")))

AS_WRITTEN void *memcpy(void *restrict to, const void *restrict from, size_t length) {
  char *into = to;
  const char *at = from;
  while (length-- > 0) *into++ = *at++;
  return to;
}

AS_WRITTEN void *memset(void *to, int value, size_t length) {
  char *into = to;
  while (length-- > 0) *into++ = (char)value;
  return to;
}

AS_WRITTEN size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length] != '\0') length++;
  return length;
}

int strncmp(const char *a, const char *b, size_t length) {
  for (; length > 0; a++, b++, length--)
    if (*a != *b || *a == '\0') return (unsigned char)*a - (unsigned char)*b;
  return 0;
}

int strcmp(const char *a, const char *b) { return strncmp(a, b, (size_t)-1); }

char *strchr(const char *text, int wanted) {
  for (;; text++) {
    if (*text == (char)wanted) return (char *)text;
    if (*text == '\0') return NULL;
  }
}

char *strstr(const char *text, const char *wanted) {
  size_t length = strlen(wanted);
  for (; *text != '\0'; text++)
    if (strncmp(text, wanted, length) == 0) return (char *)text;
  return length == 0 ? (char *)text : NULL;
}

size_t strspn(const char *text, const char *allowed) {
  size_t length = 0;
  while (text[length] != '\0' && strchr(allowed, text[length]) != NULL) length++;
  return length;
}

char *getenv(const char *name) {
  size_t length = strlen(name);
  for (char **each = environment; *each != NULL; each++)
    if (strncmp(*each, name, length) == 0 && (*each)[length] == '=') return *each + length + 1;
  return NULL;
}

#endif
