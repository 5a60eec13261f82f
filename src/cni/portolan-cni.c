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
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

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

/* `text` inside a JSON string: paths and errno texts, so escaping what JSON forbids is enough. */
static void escape(char *to, size_t size, const char *text) {
  size_t at = 0;
  for (; *text != '\0' && at + 7 < size; text++) {
    unsigned char c = (unsigned char)*text;
    if (c < 0x20)
      at += (size_t)snprintf(to + at, size - at, "\\u%04x", c);
    else {
      if (c == '"' || c == '\\') to[at++] = '\\';
      to[at++] = (char)c;
    }
  }
  to[at] = '\0';
}

static void fail(int code, const char *message, const char *subject, const char *remedy) {
  char quoted[512], line[1024];
  escape(quoted, sizeof quoted, subject);
  int length = snprintf(line, sizeof line,
                        "{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":\"%s: %s\",\"details\":\"%s\"}\n", version, code,
                        message, quoted, remedy);
  if (length > 0) write_all(line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
  _exit(1);
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
static void answer_version(void) {
  char quoted[40], line[256];
  snprintf(quoted, sizeof quoted, "\"%s\"", version);
  int length =
      snprintf(line, sizeof line, "{\"cniVersion\":\"%s\",\"supportedVersions\":[%s]}\n",
               strstr(SUPPORTED, quoted) != NULL ? version : NEWEST, SUPPORTED);
  write_all(line, (size_t)length);
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
    if (got < 0) fail(IO_FAILURE, "Read the network configuration from standard input", strerror(errno), "");
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
    if (count < 0 && errno != EINTR) fail(IO_FAILURE, "Wait for the Portolan agent", strerror(errno), "");
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
  if (fd < 0) fail(IO_FAILURE, "Open a socket", strerror(errno), "");
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
static void finish(const char *path) {
  size_t digits = strspn(answer, "0123456789");
  if (digits == 0 || digits > 3 || answer[digits] != '\n')
    fail(TRY_AGAIN_LATER, "The Portolan agent broke off", path, "try again; if it repeats, look at the agent's log");
  write_all(answer + digits + 1, answer_length - digits - 1);
  _exit(atoi(answer) & 255);
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
