/*
 * The CNI plug-in that container runtimes execute.
 *
 * Purpose: carry one request from a runtime to the agent and its answer back, fast: a process of a script language
 * would cost 100 ms, this one costs 1. It decides nothing.
 * Protocol (src/cni/wire.ts): "KEY=VALUE\n" for each CNI_ variable, "\n", standard input, half-close; the answer's
 * first line is the exit code, the rest is for standard output.
 * VERSION is answered here, for the runtime may ask before there is an agent.
 * Invariants: every failure of this program itself is a CNI error object on standard output in the version that was
 * asked with; no message is larger than MAX_MESSAGE; nothing waits longer than TIMEOUT_SECONDS.
 */
#ifdef PORTOLAN_FREESTANDING
#include "freestanding.h"
#else
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#endif
#include <sys/un.h>

/* As in src/cni/wire.ts. */
#define MAX_MESSAGE (1024 * 1024)
/* A little longer than the agent's own limit of 15 s, so that its error, which says more, arrives first. */
#define TIMEOUT_SECONDS 20
#define DEFAULT_SOCKET "/run/portolan/cni.sock"
#define NEWEST "1.1.0"
#define SUPPORTED "\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""

enum { INVALID_ENVIRONMENT = 4, IO_FAILURE = 5, TRY_AGAIN_LATER = 11 };

static const char *const variables[] = {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS",
                                        "CNI_IFNAME",  "CNI_ARGS",        "CNI_PATH"};
static char request[MAX_MESSAGE + 1];
static size_t request_length;
static char answer[MAX_MESSAGE + 1];
static size_t answer_length;
static char version[33] = "0.1.0";
static struct timespec started;

static void write_all(const char *data, size_t length) {
  while (length > 0) {
    ssize_t written = write(STDOUT_FILENO, data, length);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) _exit(1);
    data += written;
    length -= (size_t)written;
  }
}

/* A line under way; what does not fit is cut. */
struct line {
  char text[1024];
  size_t length;
};

static void put(struct line *line, const char *text) {
  for (; *text != '\0' && line->length < sizeof line->text; text++) line->text[line->length++] = *text;
}

static void put_number(struct line *line, int number) {
  char digits[12], *at = digits + sizeof digits;
  *--at = '\0';
  do *--at = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  put(line, at);
}

/* `text` inside a JSON string: paths and codes, so escaping what JSON forbids is enough. */
static void put_escaped(struct line *line, const char *text) {
  static const char hexadecimal[] = "0123456789abcdef";
  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char)*text;
    char plain[] = {(char)c, '\0'}, quoted[] = {'\\', (char)c, '\0'};
    char coded[] = {'\\', 'u', '0', '0', hexadecimal[c >> 4], hexadecimal[c & 15], '\0'};
    put(line, c < 0x20 ? coded : c == '"' || c == '\\' ? quoted : plain);
  }
}

__attribute__((noreturn)) static void fail(int code, const char *message, const char *subject, const char *remedy) {
  struct line line = {.length = 0};
  put(&line, "{\"cniVersion\":\"");
  put(&line, version);
  put(&line, "\",\"code\":");
  put_number(&line, code);
  put(&line, ",\"msg\":\"");
  put(&line, message);
  put(&line, ": ");
  put_escaped(&line, subject);
  put(&line, "\",\"details\":\"");
  put(&line, remedy);
  put(&line, "\"}\n");
  write_all(line.text, line.length);
  _exit(1);
}

/* After a system call that should not fail. */
__attribute__((noreturn)) static void fail_with_errno(const char *message) {
  struct line subject = {.length = 0};
  put(&subject, "error ");
  put_number(&subject, errno);
  subject.text[subject.length] = '\0';
  fail(IO_FAILURE, message, subject.text, "");
}

/* The value of "cniVersion" in the configuration, so that errors speak the runtime's version. */
static void find_version(const char *config) {
  const char *at = strstr(config, "\"cniVersion\"");
  if (at == NULL) return;
  at += strlen("\"cniVersion\"");
  at += strspn(at, " \t\r\n");
  if (*at++ != ':') return;
  at += strspn(at, " \t\r\n");
  if (*at++ != '"') return;
  size_t length = strspn(at, "0123456789.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-");
  if (length == 0 || length >= sizeof version || at[length] != '"') return;
  memcpy(version, at, length);
  version[length] = '\0';
}

/* Answers VERSION: in the version asked with when it is one of ours (an older 0.1.0 runtime sends none). */
__attribute__((noreturn)) static void answer_version(void) {
  struct line quoted = {.length = 0}, line = {.length = 0};
  put(&quoted, "\"");
  put(&quoted, version);
  put(&quoted, "\"");
  quoted.text[quoted.length] = '\0';
  put(&line, "{\"cniVersion\":\"");
  put(&line, strstr(SUPPORTED, quoted.text) != NULL ? version : NEWEST);
  put(&line, "\",\"supportedVersions\":[" SUPPORTED "]}\n");
  write_all(line.text, line.length);
  _exit(0);
}

static void append(const char *data, size_t length) {
  if (length > MAX_MESSAGE - request_length)
    fail(IO_FAILURE, "The request is too large", "1 MiB is the limit", "shorten the network configuration");
  memcpy(request + request_length, data, length);
  request_length += length;
}

/* Puts the variables and then standard input into the request. */
static void read_request(void) {
  const char *broken = NULL;
  for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
    const char *value = getenv(variables[i]);
    if (value == NULL) continue;
    if (strchr(value, '\n') != NULL) {
      broken = variables[i];
      continue;
    }
    append(variables[i], strlen(variables[i]));
    append("=", 1);
    append(value, strlen(value));
    append("\n", 1);
  }
  append("\n", 1);
  size_t config = request_length;
  for (;;) {
    if (request_length == MAX_MESSAGE) append("x", 1);
    ssize_t got = read(STDIN_FILENO, request + request_length, MAX_MESSAGE - request_length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_with_errno("Read the network configuration from standard input");
    if (got == 0) break;
    request_length += (size_t)got;
  }
  request[request_length] = '\0';
  find_version(request + config);
  if (broken != NULL)
    fail(INVALID_ENVIRONMENT, "The environment variable holds a line break", broken, "pass it without one");
}

static int remaining_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  long passed = (long)(now.tv_sec - started.tv_sec) * 1000 + (now.tv_nsec - started.tv_nsec) / 1000000;
  return passed >= TIMEOUT_SECONDS * 1000L ? 0 : (int)(TIMEOUT_SECONDS * 1000L - passed);
}

static void wait_for(int fd, short events, const char *path) {
  struct pollfd ready = {.fd = fd, .events = events};
  for (;;) {
    int left = remaining_ms();
    int count = poll(&ready, 1, left);
    if (count > 0) return;
    if (count < 0 && errno != EINTR) fail_with_errno("Wait for the Portolan agent");
    if (left == 0)
      fail(TRY_AGAIN_LATER, "The Portolan agent does not answer", path, "look at its log: journalctl -u portolan-agent");
  }
}

static int connect_agent(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path)
    fail(INVALID_ENVIRONMENT, "PORTOLAN_CNI_SOCKET is too long for a socket", path, "use at most 107 bytes");
  memcpy(address.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail_with_errno("Open a socket");
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
    fail(TRY_AGAIN_LATER, "The Portolan agent does not run", path, "start it: systemctl start portolan-agent");
  return fd;
}

static void send_request(int fd, const char *path) {
  for (size_t sent = 0; sent < request_length;) {
    wait_for(fd, POLLOUT, path);
    ssize_t got = send(fd, request + sent, request_length - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    /* An agent that refuses a request early has answered already: read that. */
    if (got < 0) break;
    sent += (size_t)got;
  }
  shutdown(fd, SHUT_WR);
}

static void read_answer(int fd, const char *path) {
  for (;;) {
    wait_for(fd, POLLIN, path);
    if (answer_length == MAX_MESSAGE) fail(IO_FAILURE, "The answer of the Portolan agent is too large", path, "");
    ssize_t got = read(fd, answer + answer_length, MAX_MESSAGE - answer_length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    answer_length += (size_t)got;
  }
  answer[answer_length] = '\0';
}

/* Prints the answer and ends with the code on its first line. */
__attribute__((noreturn)) static void finish(const char *path) {
  size_t digits = strspn(answer, "0123456789");
  if (digits == 0 || digits > 3 || answer[digits] != '\n')
    fail(TRY_AGAIN_LATER, "The Portolan agent broke off", path, "try again; if it repeats, look at the agent's log");
  write_all(answer + digits + 1, answer_length - digits - 1);
  int code = 0;
  for (size_t i = 0; i < digits; i++) code = code * 10 + (answer[i] - '0');
  _exit(code & 255);
}

int main(void) {
  clock_gettime(CLOCK_MONOTONIC, &started);
  const char *path = getenv("PORTOLAN_CNI_SOCKET");
  if (path == NULL || *path == '\0') path = DEFAULT_SOCKET;
  read_request();
  const char *command = getenv("CNI_COMMAND");
  if (command != NULL && strcmp(command, "VERSION") == 0) answer_version();
  int fd = connect_agent(path);
  send_request(fd, path);
  read_answer(fd, path);
  finish(path);
}
