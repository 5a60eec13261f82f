/*
 * What 64 KiB from one namespace to another cost: processor time of a thread that has both ends of a TCP connection, writes
 * and reads. All that the kernel does for it happens in that thread, on one CPU, so that neither the scheduler nor what else
 * the machine does comes in. The sides take turns of a millisecond or so.
 *
 * exchange TURNS (NETNS_FROM NETNS_TO ADDRESS)...   prints the median of each side in microseconds, one line each
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64 * 1024, EXCHANGES = 20, WARM_UP = 10, SIDES = 8 };

static char data[SIZE];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void enter(const char *path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0 || setns(fd, CLONE_NEWNET) != 0) die(path);
  close(fd);
}

static void join(char **side, int ends[2]) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t length = sizeof address;
  int on = 1;
  address.sin_addr.s_addr = inet_addr(side[2]);
  enter(side[1]);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (void *)&address, length) != 0 || listen(listener, 1) != 0) die("listen");
  if (getsockname(listener, (void *)&address, &length) != 0) die("getsockname");
  enter(side[0]);
  ends[0] = socket(AF_INET, SOCK_STREAM, 0);
  if (setsockopt(ends[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) die("setsockopt");
  if (connect(ends[0], (void *)&address, length) != 0) die("connect");
  ends[1] = accept(listener, NULL, NULL);
  if (ends[1] < 0) die("accept");
}

static double processor_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static double turn(const int ends[2]) {
  double begun = processor_us();
  for (int i = 0; i < EXCHANGES; i++) {
    if (write(ends[0], data, SIZE) != SIZE) die("write");
    for (int left = SIZE; left > 0;) {
      ssize_t got = read(ends[1], data, left);
      if (got <= 0) die("read");
      left -= got;
    }
  }
  return (processor_us() - begun) / EXCHANGES;
}

static int by_size(const void *a, const void *b) {
  double difference = *(const double *)a - *(const double *)b;
  return (difference > 0) - (difference < 0);
}

int main(int count, char **argument) {
  int turns = atoi(argument[1]), sides = (count - 2) / 3, ends[SIDES][2];
  double *spent[SIDES];
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) die("sched_setaffinity");
  for (int side = 0; side < sides; side++) {
    join(argument + 2 + 3 * side, ends[side]);
    spent[side] = calloc(turns, sizeof(double));
  }
  for (int i = -WARM_UP; i < turns; i++)
    for (int at = 0; at < sides; at++) {
      int side = (i + WARM_UP + at) % sides;
      double us = turn(ends[side]);
      if (i >= 0) spent[side][i] = us;
    }
  for (int side = 0; side < sides; side++) {
    qsort(spent[side], turns, sizeof(double), by_size);
    printf("%.3f\n", spent[side][turns / 2]);
  }
  return 0;
}
