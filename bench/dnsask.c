/*
 * dnsask PORT PREFIX SUFFIX NAMES SECONDS: one A query at a time to a port of 127.0.0.1 for PREFIX<number>SUFFIX, another
 * number below NAMES each time. Prints the percentiles in microseconds, and how many answers were wrong or did not come.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX 1000000
#define WARM_UP 2000

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Header and question; answers the length. */
static int write_query(unsigned char *query, int id, const char *name) {
  memset(query, 0, 12);
  query[0] = id >> 8;
  query[1] = id;
  query[2] = 1;
  query[5] = 1;
  int at = 12;
  for (const char *label = name; *label;) {
    int length = strcspn(label, ".");
    query[at++] = length;
    memcpy(query + at, label, length);
    at += length;
    label += length + (label[length] == '.');
  }
  memcpy(query + at, "\0\0\1\0\1", 5);
  return at + 5;
}

int main(int argc, char **argv) {
  if (argc < 6)
    return 2;
  int names = atoi(argv[4]), count = 0, bad = 0, s = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct timeval limit = {1, 0};
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect(s, (void *)&server, sizeof server))
    return 1;
  double *taken = calloc(MAX, sizeof *taken), end = now() + atof(argv[5]) * 1e6;
  for (long i = 0; count < MAX && now() < end; i++) {
    char name[256];
    unsigned char query[512], answer[4096];
    snprintf(name, sizeof name, "%s%ld%s", argv[2], i * 7919 % names, argv[3]);
    int length = write_query(query, i & 0xffff, name);
    double begun = now();
    if (send(s, query, length, 0) < 0)
      bad++;
    int got = recv(s, answer, sizeof answer, 0);
    if (i >= WARM_UP)
      taken[count++] = now() - begun;
    if (got < 12 || memcmp(answer, query, 2) || answer[7] != 1)
      bad++;
  }
  qsort(taken, count, sizeof *taken, by_size);
  printf("{\"p50\":%.3f,\"p99\":%.3f,\"count\":%d,\"bad\":%d}\n", taken[count / 2], taken[count * 99 / 100], count, bad);
}
